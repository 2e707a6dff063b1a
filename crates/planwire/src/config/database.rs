//! The URL of the database of a log. **Invariant:** what is shown of it has no password.

use std::fmt;

/// Where a log lies in PostgreSQL.
#[derive(Clone)]
pub(crate) struct Database {
    #[cfg(feature = "postgres")]
    pub(crate) url: planwire_store::PostgresUrl,
}

impl Database {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// What would be right, without what was given.
    #[cfg(feature = "postgres")]
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let url = text.parse().map_err(|error: planwire_store::PostgresUrlError| error.to_string())?;
        Ok(Self { url })
    }

    /// Refuses every URL.
    ///
    /// # Errors
    ///
    /// Always: this build has no PostgreSQL.
    #[cfg(not(feature = "postgres"))]
    pub(crate) fn parse(_: &str) -> Result<Self, String> {
        Err("this planwire was built without PostgreSQL (feature `postgres`)".to_owned())
    }
}

impl fmt::Display for Database {
    #[cfg(feature = "postgres")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }

    #[cfg(not(feature = "postgres"))]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Database {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Database {}
