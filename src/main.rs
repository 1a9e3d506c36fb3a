//! `punchd`: the program; its command line is `punchd::cli`.

fn main() -> std::process::ExitCode {
    punchd::cli::main()
}
