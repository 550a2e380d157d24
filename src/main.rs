//! Parse, run, exit code.

fn main() -> std::process::ExitCode {
    keyround::cli::main()
}
