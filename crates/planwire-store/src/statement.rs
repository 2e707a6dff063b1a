//! What a log says of its head: a checkpoint as C2SP describes it (<https://c2sp.org/tlog-checkpoint>).

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use planwire_event::{LogId, Position};

use crate::merkle::HASH_BYTES;
use crate::note::{NoteError, SigningKey, VerifierKey};

/// Begins the origin of our logs; the log id follows.
const ORIGIN: &str = "planwire/";

/// How many events a log had, and the root of the Merkle tree over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The log.
    pub log_id: LogId,
    /// Position of its last event.
    pub position: Position,
    /// Merkle root over all events up to there.
    pub root: [u8; HASH_BYTES],
}

/// Why a statement was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// The note around it is none, or not signed by the key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text is no checkpoint.
    #[error("it is no checkpoint: a line with the origin, one with the size, one with the root in Base64")]
    Form,
    /// It is a checkpoint of something else.
    #[error("it is a checkpoint of {origin}, not of a log of Planwire")]
    Origin {
        /// Of what.
        origin: String,
    },
}

impl Statement {
    /// The origin line of a log, which is also the usual name of a key that signs for it.
    #[must_use]
    pub fn origin(log_id: LogId) -> String {
        format!("{ORIGIN}{log_id}")
    }

    /// The statement as a signed note.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> String {
        key.sign(&self.text())
    }

    /// Reads a note that `key` signed.
    ///
    /// # Errors
    ///
    /// [`StatementError`] if it is not signed by the key, or says something else.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, StatementError> {
        key.open(note)?.parse()
    }

    /// Reads a note, or the text of one, without asking who signed it.
    ///
    /// # Errors
    ///
    /// [`StatementError`] if it is no statement.
    pub fn unsigned(note: &str) -> Result<Self, StatementError> {
        note.rfind("\n\n").map_or(note, |at| &note[..=at]).parse()
    }

    /// The root in Base64, as it stands in the text.
    #[must_use]
    pub fn root_text(&self) -> String {
        STANDARD.encode(self.root)
    }

    /// The text that is signed: origin, size and root, a line each.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", Self::origin(self.log_id), self.position, self.root_text())
    }
}

impl FromStr for Statement {
    type Err = StatementError;

    fn from_str(text: &str) -> Result<Self, StatementError> {
        let mut lines = text.strip_suffix('\n').ok_or(StatementError::Form)?.split('\n');
        let mut line = || lines.next().filter(|line| !line.is_empty()).ok_or(StatementError::Form);
        let (origin, size, root) = (line()?, line()?, line()?);
        // Lines behind these are extensions, which say nothing to us.
        let log_id = origin.strip_prefix(ORIGIN).and_then(|log_id| log_id.parse().ok());
        let log_id = log_id.ok_or_else(|| StatementError::Origin { origin: origin.to_owned() })?;
        let number: u64 = size.parse().map_err(|_| StatementError::Form)?;
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        let plain = number.to_string() == size;
        let root = root.filter(|_| plain).ok_or(StatementError::Form)?;
        Ok(Self { log_id, position: Position::new(number), root })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        Statement { log_id: "7Q4M2K9A".parse().unwrap(), position: Position::new(1234), root: [0xFF; 32] }
    }

    #[test]
    fn text_of_a_statement_never_changes() {
        let text = "planwire/7Q4M2K9A\n1234\n//////////////////////////////////////////8=\n";
        assert_eq!(statement().text(), text);
        assert_eq!(text.parse(), Ok(statement()));
        assert_eq!(format!("{text}an extension\n").parse(), Ok(statement()));
    }

    #[test]
    fn statement_is_read_back_by_the_key_that_signed_it_alone() {
        let key = SigningKey::generate(&Statement::origin(statement().log_id)).unwrap();
        let other = SigningKey::generate(key.verifier().name()).unwrap();
        let note = statement().sign(&key);
        assert_eq!(Statement::open(&note, key.verifier()), Ok(statement()));
        assert_eq!(Statement::unsigned(&note), Ok(statement()));
        assert_eq!(Statement::unsigned(&statement().text()), Ok(statement()));
        let refused = Statement::open(&note, other.verifier());
        assert!(matches!(refused, Err(StatementError::Note(NoteError::Unsigned { .. }))), "{refused:?}");
    }

    #[test]
    fn what_is_no_statement_is_refused() {
        let root = "//////////////////////////////////////////8=";
        for bad in [
            String::new(),
            "planwire/7Q4M2K9A\n".to_owned(),
            format!("planwire/7Q4M2K9A\n1234\n{root}"),
            format!("planwire/7Q4M2K9A\n01234\n{root}\n"),
            format!("planwire/7Q4M2K9A\n-1\n{root}\n"),
            "planwire/7Q4M2K9A\n1234\nAAAA\n".to_owned(),
        ] {
            assert_eq!(bad.parse::<Statement>(), Err(StatementError::Form), "{bad:?}");
        }
        let foreign = format!("example.com/log\n7\n{root}\n").parse::<Statement>();
        let origin = "example.com/log".to_owned();
        assert_eq!(foreign, Err(StatementError::Origin { origin }));
    }
}
