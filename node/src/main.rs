//! The command line of a partner's node.

use std::process::ExitCode;

fn main() -> ExitCode {
    entente_node::commands::main()
}
