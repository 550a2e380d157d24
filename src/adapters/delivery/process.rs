//! Runs a program on this machine once, in an environment that contains only `PATH` and `LANG`, and leaves no process
//! behind.
//!
//! **Invariant:** the program runs in a process group of its own, together with the processes that it starts. The
//! whole group is killed when the time limit passes, when the program has ended, and when the caller stops waiting.
//!
//! **Invariant:** a program that another user could have changed is not run, so it receives no secret.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::adapters::delivery::misconfigured;
use crate::adapters::delivery::secret_buffer::SecretBuffer;
use crate::core::rotation::RefusalCode;
use crate::core::time::in_words;
use crate::files::trust;
use crate::ports::{Answer, Fault, Finished, Program, Programs, Purpose};

/// The `PATH` of the program, so that it finds the usual tools. Nothing else is taken over from our environment.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long the rest of the output is read after the program has ended and its group was killed. Only a process that
/// moved to another group could keep the output open longer.
const REST_OF_OUTPUT: Duration = Duration::from_secs(1);
const EVERYBODY_WRITES: u32 = 0o002;
const SOMEBODY_EXECUTES: u32 = 0o111;

/// Runs programs of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalPrograms;

#[async_trait]
impl Programs for LocalPrograms {
    async fn run(&self, _purpose: &Purpose, program: Program<'_>) -> Answer<Finished> {
        self.find(program.argv).await?;
        let Some((path, arguments)) = program.argv.split_first() else { return Err(nothing_to_run()) };
        let child = Command::new(path)
            .args(arguments)
            .env_clear()
            .envs([("PATH", PATH), ("LANG", "C.UTF-8")])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let child = child.map_err(|error| not_started(path, &error))?;
        let running = Running { group: Group::of(&child), child };
        let late = || {
            Fault::unknown(format!("{path} did not end within {} and was killed", in_words(program.timeout)))
        };
        tokio::time::timeout(program.timeout, running.run_to_end(&program))
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    async fn find(&self, argv: &[String]) -> Answer<()> {
        let path = argv.first().ok_or_else(nothing_to_run)?;
        let metadata = tokio::fs::metadata(path).await.map_err(|error| not_started(path, &error))?;
        if !metadata.is_file() || metadata.mode() & SOMEBODY_EXECUTES == 0 {
            return Err(misconfigured(format!("{path} is not a program that can be run")));
        }
        if metadata.mode() & EVERYBODY_WRITES != 0 {
            return Err(misconfigured(format!(
                "{path} can be changed by everybody, so it is given no secret: chmod o-w"
            )));
        }
        let path = PathBuf::from(path);
        let judged = tokio::task::spawn_blocking(move || trust::judge_path(&path)).await;
        let judged = judged.map_err(|_| misconfigured("the program cannot be looked at"))?;
        judged.map_err(|untrusted| misconfigured(format!("the program is given no secret: {untrusted}")))
    }
}

fn nothing_to_run() -> Fault {
    misconfigured("argv names no program")
}

fn not_started(path: &str, error: &io::Error) -> Fault {
    Fault::refused(RefusalCode::NotSent, format!("{path} cannot be run: {}", error.kind()))
}

/// A process group, which is killed when this value is dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Group(id.and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The call fails if the group has no process left, which is the wanted state.
            let _gone = kill_process_group(group, Signal::KILL);
        }
    }
}

struct Running {
    // Declared before the child, so that it is dropped first: the group is killed while its number cannot have been
    // reused.
    group: Group,
    child: Child,
}

impl Running {
    async fn run_to_end(mut self, program: &Program<'_>) -> Answer<Finished> {
        let broken = || Fault::unknown(format!("{} could not be waited for", program.argv[0]));
        let (mut output, mut complaint) = (SecretBuffer::new(), SecretBuffer::new());
        let (stdin, stdout, stderr) =
            (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        let status = {
            let talk = async {
                let feed = async {
                    if let Some(mut stdin) = stdin {
                        // A program may end without reading its input, and then the write fails. Its exit code is
                        // what counts.
                        drop(stdin.write_all(program.input.expose().as_bytes()).await);
                    }
                };
                tokio::join!(feed, keep(stdout, &mut output), keep(stderr, &mut complaint));
            };
            let mut talk = std::pin::pin!(talk);
            tokio::select! {
                status = self.child.wait() => {
                    drop(self.group);
                    drop(tokio::time::timeout(REST_OF_OUTPUT, &mut talk).await);
                    status
                }
                () = &mut talk => self.child.wait().await,
            }
        };
        let code = status.map_err(|_| broken())?.code();
        Ok(Finished { code, output: output.into_secret(), complaint: complaint.into_secret() })
    }
}

/// Reads to the end and keeps what fits into the buffer. A program that writes more is not stopped for it.
async fn keep(from: Option<impl AsyncRead + Unpin>, text: &mut SecretBuffer) {
    let Some(mut from) = from else { return };
    let mut piece = zeroize::Zeroizing::new([0; 4096]);
    while let Ok(length @ 1..) = from.read(piece.as_mut_slice()).await {
        text.push(&piece[..length]);
    }
}
