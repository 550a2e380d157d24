//! The schema of a journal: the steps that make it, and the check that a file has it and nothing else.
//!
//! A table that is a view, or a trigger that another program added, makes SQLite answer our own statements with
//! something else than what is stored. So the text of every object in the file is compared with what the steps make.

use std::sync::Arc;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqlSafeStr as _, SqliteConnection, query_as};

use super::failure::Failure;

/// How much of a foreign object's name is repeated.
const NAME_CHARS_MAX: usize = 64;

/// What the schema is made of: kind, name, the table that it belongs to, and its text. An index that SQLite makes for a
/// constraint has no text.
type Object = (String, String, String, Option<String>);

/// Brings the schema to the newest version. Each step is one transaction, which also sets the schema's number.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<(), Failure> {
    migrate_to(connection, usize::MAX).await
}

async fn migrate_to(connection: &mut SqliteConnection, version: usize) -> Result<(), Failure> {
    let steps = [
        ("history", include_str!("migrations/1_history.sql")),
        ("alerts", include_str!("migrations/2_alerts.sql")),
        ("head seal", include_str!("migrations/3_head_seal.sql")),
    ];
    let migrations = (1..).zip(steps).take(version).map(|(version, (name, sql))| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect()).run(connection).await?;
    Ok(())
}

/// The objects of one version of the schema.
#[derive(Clone, Debug)]
pub(super) struct Known(Arc<Vec<Object>>);

impl Known {
    /// What the steps up to that version make.
    pub(super) async fn of(version: u32) -> Result<Known, Failure> {
        let mut reference = SqliteConnectOptions::new().in_memory(true).connect().await?;
        migrate_to(&mut reference, usize::try_from(version).unwrap_or(usize::MAX)).await?;
        let known = objects(&mut reference).await?;
        reference.close().await?;
        Ok(Known(Arc::new(known)))
    }
}

/// What in the file is not of that schema, in words; `None`: the file has this schema and nothing else.
pub(super) async fn foreign(
    connection: &mut SqliteConnection,
    Known(known): &Known,
) -> Result<Option<String>, Failure> {
    let found = objects(connection).await?;
    if found == **known {
        return Ok(None);
    }
    let is_called = |object: &Object, other: &Object| object.0 == other.0 && object.1 == other.1;
    // The objects that somebody named come before the ones that SQLite made for them.
    let (named, unnamed): (Vec<&Object>, Vec<&Object>) = found.iter().partition(|object| object.3.is_some());
    let stranger = named.into_iter().chain(unnamed).find(|object| !known.contains(object));
    let words = match stranger {
        Some(object) if known.iter().any(|other| is_called(object, other)) => {
            format!("{} is not what keyround made", called(object))
        }
        Some(object) => format!("{} is not part of a keyround journal", called(object)),
        None => match known.iter().find(|object| !found.contains(object)) {
            Some(object) => format!("{} is missing", called(object)),
            None => "an object is there twice".to_owned(),
        },
    };
    Ok(Some(words))
}

async fn objects(connection: &mut SqliteConnection) -> Result<Vec<Object>, Failure> {
    let order = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name, tbl_name, sql";
    Ok(query_as(order).fetch_all(connection).await?)
}

/// The kind and the name, which another program chose.
fn called((kind, name, ..): &Object) -> String {
    let short: String = name.chars().take(NAME_CHARS_MAX).collect();
    format!("the {} {}", kind.escape_debug(), short.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table that sqlx keeps its own notes in is part of every journal. A version of sqlx that made it otherwise would
    /// have this version refuse the journals of the ones before: then `foreign` must know both texts.
    #[tokio::test]
    async fn the_table_of_sqlx_is_the_one_that_journals_have() {
        let mut connection = SqliteConnectOptions::new().in_memory(true).connect().await.expect("a database");
        migrate(&mut connection).await.expect("a schema");
        let objects = objects(&mut connection).await.expect("its objects");
        let notes = objects.iter().find(|(kind, name, ..)| kind == "table" && name == "_sqlx_migrations");
        let text = notes.and_then(|notes| notes.3.as_deref()).expect("it has a text");
        let words: Vec<&str> = text.split_whitespace().collect();
        let known = "CREATE TABLE _sqlx_migrations ( version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
                     installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB \
                     NOT NULL, execution_time BIGINT NOT NULL )";
        assert_eq!(words.join(" "), known);
    }
}
