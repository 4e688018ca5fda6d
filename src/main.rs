//! The `drumlin` program.

fn main() -> std::process::ExitCode {
    drumlin::cli::main()
}
