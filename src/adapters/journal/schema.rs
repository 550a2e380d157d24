//! The schema of a journal: the migrations that make it, and the check that a file has this schema and nothing else.
//!
//! If another program replaces a table with a view, or adds a trigger, SQLite answers keyround's own statements with
//! something other than the stored rows. So the SQL text of every object in the file is compared with what the
//! migrations make.

use std::sync::Arc;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqlSafeStr as _, SqliteConnection, query_as};

use super::failure::Failure;

/// The number of characters of a foreign object's name that a message repeats.
const NAME_CHARS_MAX: usize = 64;

/// A row of `sqlite_schema`: type, name, table name and SQL text. An index that SQLite makes for a constraint has no
/// text.
type Object = (String, String, String, Option<String>);

/// Migrates the schema to the newest version. Each migration is one transaction, which also sets the schema version.
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

/// All objects of one version of the schema.
#[derive(Clone, Debug)]
pub(super) struct KnownObjects(Arc<Vec<Object>>);

impl KnownObjects {
    /// The objects that the migrations up to that version make.
    pub(super) async fn of(version: u32) -> Result<KnownObjects, Failure> {
        let mut reference = SqliteConnectOptions::new().in_memory(true).connect().await?;
        migrate_to(&mut reference, usize::try_from(version).unwrap_or(usize::MAX)).await?;
        let known = objects(&mut reference).await?;
        reference.close().await?;
        Ok(KnownObjects(Arc::new(known)))
    }
}

/// The first difference between the file's schema and the known one, in words; `None` if there is none.
pub(super) async fn foreign(
    connection: &mut SqliteConnection,
    KnownObjects(known): &KnownObjects,
) -> Result<Option<String>, Failure> {
    let found = objects(connection).await?;
    if found == **known {
        return Ok(None);
    }
    let is_called = |object: &Object, other: &Object| object.0 == other.0 && object.1 == other.1;
    // Objects with a text come before those without, so that a message names the one that a program created rather than
    // an index that SQLite made for it.
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

/// The type and the name of an object. Both are escaped and the name is cut, because another program may have chosen
/// it.
fn called((kind, name, ..): &Object) -> String {
    let short: String = name.chars().take(NAME_CHARS_MAX).collect();
    format!("the {} {}", kind.escape_debug(), short.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every journal contains the table in which sqlx records the migrations. If a new version of sqlx created that
    /// table with another text, keyround would refuse existing journals; `foreign` must then accept both texts.
    #[tokio::test]
    async fn the_sqlx_migrations_table_has_its_known_definition() {
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
