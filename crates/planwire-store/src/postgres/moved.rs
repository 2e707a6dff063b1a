//! The marker in a schema whose log was moved elsewhere, or is on its way here; as in SQLite, a table and a trigger.
//!
//! The trigger holds for processes too that had the log open before, and for those that do not know the table.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use crate::moving::Moving;

const SET: &str = "CREATE TABLE planwire_move (one INTEGER PRIMARY KEY CHECK (one = 1), state TEXT NOT NULL, \
      place TEXT NOT NULL); \
    CREATE FUNCTION planwire_moved() RETURNS trigger LANGUAGE plpgsql AS $$ \
      BEGIN RAISE EXCEPTION USING MESSAGE = 'the log was moved', ERRCODE = 'PW002'; END $$; \
    CREATE TRIGGER planwire_move BEFORE INSERT OR UPDATE OR DELETE ON planwire_log \
      FOR EACH ROW EXECUTE FUNCTION planwire_moved();";
const CLEAR: &str = "DROP TRIGGER planwire_move ON planwire_log; DROP FUNCTION planwire_moved(); \
    DROP TABLE planwire_move;";

/// Where the log is, if not here.
pub(crate) async fn find(client: &Client) -> Result<Option<Moving>, Error> {
    let there = "SELECT to_regclass('planwire_move') IS NOT NULL";
    if !client.query_typed_one(there, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let row = client.query_typed_opt("SELECT state, place FROM planwire_move", &[]).await?;
    row.map_or(Ok(None), |row| Ok(Moving::of(row.try_get(0)?, row.try_get(1)?)))
}

/// Sets the marker, within the caller's transaction, which holds the table of the head.
pub(crate) async fn set(client: &Client, moving: &Moving) -> Result<(), Error> {
    client.batch_execute(SET).await?;
    let (state, place) = moving.parts();
    let insert = "INSERT INTO planwire_move (one, state, place) VALUES (1, $1, $2)";
    client.query_typed(insert, &[(&state, Type::TEXT), (&place, Type::TEXT)]).await.map(drop)
}

/// Takes the marker away, within the caller's transaction.
pub(crate) async fn clear(client: &Client) -> Result<(), Error> {
    client.batch_execute(CLEAR).await
}
