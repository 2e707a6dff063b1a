//! Timestamps as PostgreSQL's TIMESTAMPTZ: microseconds too, but counted from another day.

use bytes::BytesMut;
use planwire_event::Timestamp;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

/// Microseconds from 1970 to 2000, from which PostgreSQL counts.
const MICROS_TO_2000: i64 = 946_684_800_000_000;

type Wrong = Box<dyn std::error::Error + Sync + Send>;

/// A [`Timestamp`] on its way to or from PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instant(pub(crate) Timestamp);

impl ToSql for Instant {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Wrong> {
        // Timestamps end with the year 9999, far from where i64 does.
        (self.0.as_micros() - MICROS_TO_2000).to_sql(kind, out)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Instant {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Wrong> {
        let micros = i64::from_sql(kind, raw)?.checked_add(MICROS_TO_2000);
        // Infinity, and years that we do not write.
        let time = micros.map(Timestamp::from_micros_clamped).filter(|time| Some(time.as_micros()) == micros);
        time.map(Self).ok_or_else(|| "a timestamp outside of the years 0001 to 9999".into())
    }

    accepts!(TIMESTAMPTZ);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_come_back_and_others_are_refused() {
        for text in
            ["0001-01-01T00:00:00.000000Z", "2000-01-01T00:00:00.000001Z", "9999-12-31T23:59:59.999999Z"]
        {
            let instant = Instant(text.parse().unwrap());
            let mut bytes = BytesMut::new();
            instant.to_sql(&Type::TIMESTAMPTZ, &mut bytes).unwrap();
            assert_eq!(Instant::from_sql(&Type::TIMESTAMPTZ, &bytes).unwrap(), instant);
        }
        for micros in [i64::MAX, i64::MIN, 252_455_616_000_000_000] {
            assert!(Instant::from_sql(&Type::TIMESTAMPTZ, &micros.to_be_bytes()).is_err(), "{micros}");
        }
    }
}
