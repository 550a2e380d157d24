//! A real PostgreSQL server, one for all tests of this process, and a database for each test.
//!
//! The server runs as long as this process: a shell ends it when its standard input is closed. PostgreSQL refuses to run
//! as root, so root starts it as `nobody`.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql};

/// The password of the database user, which nothing may show.
pub(crate) const PASSWORD: &str = "canary-of-the-database-7d1f";
const NOBODY: u32 = 65_534;
const START_MAX: Duration = Duration::from_mins(1);
/// Makes the database cluster, runs the server until the standard input is closed, and removes everything.
const SCRIPT: &str = r#"
"$1/initdb" -D "$2/data" -U postgres --pwfile="$2/password" --auth=scram-sha-256 -E UTF8 --locale=C --no-sync \
    >"$2/log" 2>&1 || exit 1
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses=127.0.0.1 -p "$3" -c fsync=off -c max_connections=200 \
    >>"$2/log" 2>&1 &
read -r _
kill -QUIT $!
wait
rm -rf "$2"
"#;

struct Server {
    _shell: Child,
    port: u16,
    folder: PathBuf,
}

static SERVER: LazyLock<Server> = LazyLock::new(start);

/// The port of the server on this machine.
pub(crate) fn port() -> u16 {
    SERVER.port
}

/// The URL of a new, empty database. It contains the password.
pub(crate) fn database() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("journal{}", COUNT.fetch_add(1, Ordering::Relaxed));
    execute(&url("postgres", SERVER.port), &format!("CREATE DATABASE {name}"));
    url(&name, SERVER.port)
}

/// The URL of that database through another port, such as the one of a proxy.
pub(crate) fn through(database: &str, port: u16) -> String {
    database.replace(&format!(":{}/", SERVER.port), &format!(":{port}/"))
}

fn url(database: &str, port: u16) -> String {
    format!("postgres://postgres:{PASSWORD}@127.0.0.1:{port}/{database}")
}

/// Runs statements as the owner of the database. It works in a thread of its own, so that every test can call it.
pub(crate) fn execute(url: &str, statements: &str) {
    try_execute(url, statements).unwrap_or_else(|error| panic!("{statements}: {error}"));
}

fn try_execute(url: &str, statements: &str) -> Result<(), sqlx::Error> {
    on_a_thread(url, async |connection| {
        raw_sql(AssertSqlSafe(statements.to_owned())).execute(connection).await.map(drop)
    })
}

/// The first column of the first row, as text.
pub(crate) fn answer(url: &str, question: &str) -> Option<String> {
    let asked = on_a_thread(url, async |connection| {
        sqlx::query_scalar(AssertSqlSafe(question.to_owned())).fetch_optional(connection).await
    });
    asked.unwrap_or_else(|error| panic!("{question}: {error}"))
}

fn on_a_thread<T: Send>(
    url: &str,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error> + Send,
) -> Result<T, sqlx::Error> {
    thread::scope(|scope| {
        let done = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let mut connection = PgConnection::connect(url).await?;
                let done = work(&mut connection).await;
                connection.close().await?;
                done
            })
        });
        done.join().expect("the thread ends")
    })
}

fn start() -> Server {
    let folder = tempfile::Builder::new().prefix("keyround-postgres-").tempdir().expect("a folder").keep();
    fs::write(folder.join("password"), PASSWORD).expect("the folder can be written");
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        for path in [&folder, &folder.join("password")] {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
        }
    }
    let port = free_port();
    let mut command = match is_root {
        true => {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh"]);
            command
        }
        false => Command::new("sh"),
    };
    command.args(["-c", SCRIPT, "sh"]).arg(programs()).arg(&folder).arg(port.to_string());
    let shell = command.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let server = Server { _shell: shell.expect("a shell starts"), port, folder };
    let begun = Instant::now();
    while let Err(error) = try_execute(&url("postgres", port), "SELECT 1") {
        if begun.elapsed() > START_MAX {
            let mut why = error.to_string();
            let log = fs::read_to_string(server.folder.join("log")).unwrap_or_default();
            write!(why, "\n{log}").expect("a text");
            panic!("the PostgreSQL server of the tests does not start: {why}");
        }
        thread::sleep(Duration::from_millis(50));
    }
    server
}

/// The folder with `initdb` and `postgres`: one of `PATH`, else the newest of Debian's.
fn programs() -> PathBuf {
    let has_both = |folder: &Path| folder.join("initdb").exists() && folder.join("postgres").exists();
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).find(|folder| has_both(folder));
    let debian = || {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
        let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
        let folders = versions.flatten().map(|entry| entry.path());
        let newest = folders.filter(|path| has_both(&path.join("bin"))).max_by_key(version)?;
        Some(newest.join("bin"))
    };
    on_path.or_else(debian).expect(
        "this test needs a PostgreSQL server and there is none: install Debian's package (apt-get install postgresql), or \
         put initdb and postgres on PATH",
    )
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("it listens").port()
}
