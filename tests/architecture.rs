//! The table in `docs/architecture.md` is what the sources do.
//!
//! It says which room of `src/` may know which. Every path in the sources is held to it, and no
//! two files may use one another, directly or through others. `architecture/scanner.rs` and
//! `architecture/scanner_circles.rs` show by made-up sources what is found.

#[path = "architecture/reach.rs"]
mod reach;
#[path = "architecture/reader.rs"]
mod reader;
#[path = "architecture/refused.rs"]
mod refused;
#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/scanner.rs"]
mod scanner;
#[path = "architecture/scanner_circles.rs"]
mod scanner_circles;
#[path = "architecture/source.rs"]
mod source;
#[path = "architecture/table.rs"]
mod table;
#[path = "architecture/tokens.rs"]
mod tokens;
#[path = "architecture/tree.rs"]
mod tree;

use std::fs;
use std::path::Path;

use rules::violations;
use table::Table;
use tree::Tree;

#[test]
fn sources_keep_to_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let table = Table::parse(&document).unwrap();
    let tree = Tree::read(root).unwrap();
    let found: Vec<String> = violations(&table, &tree).iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

/// Paths in back-ticks, in the documents that say where something is.
#[test]
fn documents_name_only_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for document in ["docs/architecture.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let is_path = |name: &&str| {
            let first = name.split_once('/').map(|(first, _)| first);
            matches!(first, Some("src" | "tests" | "docs" | "examples" | "scripts" | "fuzz"))
        };
        for name in text.split('`').skip(1).step_by(2).filter(is_path) {
            let file = name.split(' ').next().unwrap_or(name);
            assert!(root.join(file).exists(), "{document}: {name}");
        }
    }
}
