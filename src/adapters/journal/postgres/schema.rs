//! The tables of a journal in PostgreSQL, and the check that the schema `keyround` holds these objects and nothing else.
//!
//! A view in place of a table, a trigger, a rule or a row-level policy of another program could answer keyround's own
//! statements with something other than the stored rows.

use sqlx::{PgConnection, Row as _, query_scalar, raw_sql};

use super::server::Server;
use crate::adapters::journal::failure::Failure;
use crate::ports::JournalError;

/// The version of the tables that this version of keyround makes and knows.
pub(super) const SCHEMA: i32 = 1;
/// The class of the advisory locks of keyround: "krnd".
pub(super) const LOCK_CLASS: i32 = 0x6b72_6e64;
/// The advisory lock of a process that makes the tables.
const MAKING_LOCK: i32 = 0;
/// The objects of the schema, one a line, as [`OBJECTS`] lists them.
const KNOWN: &str = include_str!("objects.txt");
const OBJECTS: &str = "
    SELECT coalesce(string_agg(line, E'\\n' ORDER BY line COLLATE \"C\"), '') FROM (
        SELECT format('relation %s %s%s', relkind, relname,
                      CASE WHEN relrowsecurity THEN ' with row security' ELSE '' END) AS line
            FROM pg_class WHERE relnamespace = $1::oid
        UNION ALL
        SELECT format('column %s.%s %s%s', relname, attname, format_type(atttypid, atttypmod),
                      CASE WHEN attnotnull THEN ' not null' ELSE '' END)
            FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
            WHERE relnamespace = $1::oid AND relkind NOT IN ('i', 'I') AND attnum > 0 AND NOT attisdropped
        UNION ALL
        SELECT format('trigger %s %s enabled %s', relname, tgname, tgenabled)
            FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
            WHERE relnamespace = $1::oid AND NOT tgisinternal
        UNION ALL
        SELECT format('rule %s %s', relname, rulename)
            FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class WHERE relnamespace = $1::oid
        UNION ALL
        SELECT format('policy %s %s', relname, polname)
            FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid WHERE relnamespace = $1::oid
        UNION ALL
        SELECT format('function %s %s', proname, prosrc) FROM pg_proc WHERE pronamespace = $1::oid
    ) AS objects";

/// What a database holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Found {
    /// No journal.
    Nothing,
    /// A journal with the tables of this version.
    Journal,
}

/// Looks for a journal. A database that another program or a newer version of keyround has changed is refused.
pub(super) async fn inspect(connection: &mut PgConnection, server: &Server) -> Result<Found, Failure> {
    let encoding: String =
        query_scalar("SELECT current_setting('server_encoding')").fetch_one(&mut *connection).await?;
    if encoding != "UTF8" {
        return Err(
            server.unusable(&format!("is in a database with the encoding {encoding}; UTF8 is needed"))
        );
    }
    let objects = objects(connection).await?;
    if objects.is_empty() {
        return Ok(Found::Nothing);
    }
    if objects.lines().any(|line| line == "relation r journal")
        && objects.lines().any(|line| line == "column journal.schema_version integer not null")
    {
        let version: i32 =
            query_scalar("SELECT schema_version FROM keyround.journal").fetch_one(connection).await?;
        if version > SCHEMA {
            return Err(Failure::Judged(JournalError::Unusable(format!(
                "the journal {server} is from a newer version of keyround (schema {version}, this version knows \
                 {SCHEMA}); it was not touched; run that version or a later one"
            ))));
        }
    }
    match difference(&objects) {
        None => Ok(Found::Journal),
        Some(words) => Err(server.unusable(&format!(
            "is damaged, or another program changed the schema keyround: {words}; restore it from a backup"
        ))),
    }
}

fn difference(objects: &str) -> Option<String> {
    let cut = |line: &str| line.chars().take(80).collect::<String>().escape_debug().to_string();
    let (found, known): (Vec<&str>, Vec<&str>) = (objects.lines().collect(), KNOWN.lines().collect());
    if let Some(stranger) = found.iter().find(|line| !known.contains(line)) {
        return Some(format!("the {} is not part of a keyround journal", cut(stranger)));
    }
    let missing = known.iter().find(|line| !found.contains(line))?;
    Some(format!("the {} is missing", cut(missing)))
}

async fn objects(connection: &mut PgConnection) -> Result<String, Failure> {
    // An oid travels as text: sqlx has no plain integer for it.
    let namespace: Option<String> =
        query_scalar("SELECT oid::text FROM pg_namespace WHERE nspname = 'keyround'")
            .fetch_optional(&mut *connection)
            .await?;
    let Some(namespace) = namespace else { return Ok(String::new()) };
    Ok(sqlx::query(OBJECTS).bind(namespace).fetch_one(connection).await?.try_get(0)?)
}

/// Waits until no other process makes the tables of a journal. Holds until the end of the transaction.
pub(super) async fn lock_making(connection: &mut PgConnection) -> Result<(), Failure> {
    sqlx::query("SELECT pg_advisory_xact_lock($1, $2)")
        .bind(LOCK_CLASS)
        .bind(MAKING_LOCK)
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes the tables, without the row of `journal`.
pub(super) async fn make(connection: &mut PgConnection) -> Result<(), Failure> {
    let is_there: bool = query_scalar("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'keyround')")
        .fetch_one(&mut *connection)
        .await?;
    // An administrator may have made the schema for a user who may not make one.
    if !is_there {
        raw_sql("CREATE SCHEMA keyround").execute(&mut *connection).await?;
    }
    raw_sql(include_str!("schema.sql")).execute(connection).await?;
    Ok(())
}
