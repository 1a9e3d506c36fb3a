//! What one source file says: its modules, what each defines and imports, and every path.

use std::collections::{BTreeMap, BTreeSet};

use super::reader::Reader;
use super::refused::refused;
use super::tokens::tokens;

/// A module by its names from the crate's root, which is empty.
pub type ModulePath = Vec<String>;

/// One module, whether a file or within one.
#[derive(Default, Debug)]
pub struct Module {
    pub items: BTreeSet<String>,
    /// Names that `use` binds, and the path of each.
    pub aliases: Vec<(String, Vec<String>)>,
    /// Modules of which all names are imported.
    pub globs: Vec<Vec<String>>,
    /// Child modules that exist only under `cfg(test)`.
    pub test_children: BTreeSet<String>,
}

/// A path in the source: in a `use`, in code, in a macro or in an attribute.
#[derive(Clone, Debug)]
pub struct Mention {
    pub file: String,
    pub line: usize,
    /// The module in which it stands.
    pub module: ModulePath,
    /// Its segments as written; the last is `*` for a glob.
    pub segments: Vec<String>,
    /// The name that it binds, if this is a `pub use`.
    pub reexported_as: Option<String>,
    /// It stands under `#[cfg(test)]`.
    pub is_test: bool,
}

/// One file.
#[derive(Debug)]
pub struct Source {
    pub file: String,
    pub modules: BTreeMap<ModulePath, Module>,
    pub mentions: Vec<Mention>,
    /// Names that code outside `use` and `cfg(test)` mentions by themselves or first in a path.
    pub names: BTreeSet<String>,
    /// Macros that `#[macro_export]` puts at the crate's root.
    pub exported_macros: BTreeSet<String>,
    /// Lines that cannot be followed, and why.
    pub refused: Vec<(usize, String)>,
}

impl Source {
    /// Reads a file `src/…/x.rs`.
    pub fn parse(file: &str, text: &str) -> Source {
        let tokens = tokens(text);
        let source = Source {
            file: file.to_owned(),
            modules: BTreeMap::new(),
            mentions: Vec::new(),
            names: BTreeSet::new(),
            exported_macros: BTreeSet::new(),
            refused: refused(file, &tokens),
        };
        Reader::new(tokens, source).read(&module_of(file))
    }
}

/// The module that a file is.
pub fn module_of(file: &str) -> ModulePath {
    let inside = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut names: ModulePath = inside.split('/').map(str::to_owned).collect();
    let is_root = matches!(inside, "lib" | "main");
    if is_root || names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}
