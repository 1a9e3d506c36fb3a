//! Made-up sources, and what is found in them.

use super::rules::violations;
use super::table::Table;
use super::tree::Tree;

pub const TABLE: &str = "\
| room | what it is for | whom it may know |
|---|---|---|
| `store` | rows | nobody |
| `config` | settings | `store` |
| `client` | the loop | `store` |
";

/// Sources in which each room uses what the table allows, and nothing else.
pub const SOUND: [(&str, &str); 4] = [
    ("src/lib.rs", "pub mod client; pub mod config; pub mod store;"),
    ("src/store.rs", "pub struct Row; pub fn row() -> Row { Row }"),
    ("src/config.rs", "pub use crate::store::Row;"),
    ("src/client.rs", "use crate::store::row;"),
];

/// What is found if files are added to the sound ones, or put in their place.
fn found(files: &[(&str, &str)]) -> Vec<String> {
    found_by(TABLE, files)
}

fn found_by(table: &str, files: &[(&str, &str)]) -> Vec<String> {
    let sound = SOUND.iter().filter(|(name, _)| files.iter().all(|(file, _)| file != name));
    let tree = Tree::new(sound.chain(files).copied());
    let found = violations(&Table::parse(table).expect("a table"), &tree);
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn sound_sources_pass() {
    assert_eq!(found(&[]), [""; 0]);
}

#[test]
fn a_wrong_import_is_found_wherever_it_stands() {
    for (line, path) in [
        ("use crate::client::step;", "crate::client::step"),
        ("use crate::{client::{self, step}};", "crate::client"),
        ("use super::client;", "super::client"),
        ("pub use crate::client::step as other;", "crate::client::step"),
        ("use crate::client::*;", "crate::client::*"),
        ("fn f() { crate::client::step() }", "crate::client::step"),
        ("fn f() -> Vec<crate::client::Step> { Vec::new() }", "crate::client::Step"),
        ("fn f() { <T as crate::client::Step>::f() }", "crate::client::Step"),
        ("fn f() { println!(\"{}\", crate::client::step()) }", "crate::client::step"),
        ("macro_rules! m { () => { $crate::client::step() } }", "crate::client::step"),
        ("macro_rules! m { () => { use $crate::client::step; } }", "crate::client::step"),
        ("#[derive(crate::client::Step)] struct A;", "crate::client::Step"),
        ("#[serde(with = \"crate::client::step\")] struct A;", "crate::client::step"),
        ("mod inner { use super::super::client::step; }", "super::super::client::step"),
        ("mod inner { fn f() { self::super::super::client::step() } }", "self::super"),
        ("pub(in crate::client) fn f() {}", "crate::client"),
        ("use punchd::client::step;", "punchd::client::step"),
        ("fn f() { let c = '\"'; crate::client::step(); let d = '\\''; }", "crate::client::step"),
        ("fn f<'a>(t: &'a str) { r#\"\"\"#; crate::client::step() }", "crate::client::step"),
        ("fn f() { for _ in 0..crate::client::MOST {} }", "crate::client::MOST"),
        ("fn f(x: &[u8]) { &x[..crate::client::MOST]; }", "crate::client::MOST"),
        ("fn f() -> A { A { a: 1, ..crate::client::a() } }", "crate::client::a"),
        ("type A = *const crate::client::Step;", "crate::client::Step"),
        ("type A = *mut crate::client::Step;", "crate::client::Step"),
        ("static A: P = &raw const crate::client::STEP;", "crate::client::STEP"),
        ("use crate::client::*; type A = *const step;", "crate::client::*"),
        ("#[serde(try_from = \"Vec<crate::client::Step>\")] struct A;", "crate::client::Step"),
        ("#[serde(bound = \"T: a::B + crate::client::Step\")] struct A;", "crate::client::Step"),
        ("fn f() { mod inner { use super::super::client::step; } }", "super::super::client::step"),
    ] {
        let text = format!("pub struct Row; pub fn row() {{}}\n{line}");
        let client = ("src/client.rs", "use crate::store::row; pub fn step() {}");
        let found = found(&[("src/store.rs", &text), client]);
        let expected = format!("src/store.rs:2: `{path}");
        let says = "`store` uses `client`, but `store` may know nobody";
        assert!(
            found.iter().any(|it| it.starts_with(&expected) && it.ends_with(says)),
            "{line}: {found:?}"
        );
    }
}

#[test]
fn what_cannot_be_followed_is_refused() {
    for (line, what) in [
        ("extern crate self as me;", "`extern crate self`"),
        ("include!(\"other.rs\");", "`include!`"),
        ("fn f() { std::include! { \"other.rs\" } }", "`include!`"),
        ("#[path = \"other.rs\"] mod x;", "`path` in an attribute"),
        ("#[cfg_attr(all(), path = \"other.rs\")] mod x;", "`path` in an attribute"),
        ("#[macro_use] mod x;", "`macro_use` in an attribute"),
        ("#[cfg_attr(all(), macro_export)] macro_rules! x {}", "`macro_export` in an attribute"),
        ("macro_rules! m { ($r:ident) => { crate::$r::X } }", "`crate::$`"),
        ("macro_rules! m { ($r:ident) => { $crate::$r::X } }", "`crate::$`"),
        ("macro_rules! m { ($r:ident) => { super::$r::X } }", "`super::$`"),
        ("macro_rules! m { ($c:ident) => { $c::client::X } }", "`$c::`"),
        ("macro_rules! m { ($r:ident) => { use crate::{$r::X}; } }", "`$` in a `use`"),
    ] {
        let text = format!("pub struct Row; pub fn row() {{}}\n{line}");
        let found = found(&[("src/store.rs", &text)]);
        let expected = format!("src/store.rs:2: {what}");
        assert!(found.iter().any(|it| it.starts_with(&expected)), "{line}: {found:?}");
    }
}

#[test]
fn the_root_only_declares_modules() {
    let declared = "//! Docs.\n#![warn(a::b)]\n#[cfg(unix)] pub(crate) mod client; mod store;";
    assert_eq!(found(&[("src/lib.rs", declared)]), [""; 0]);
    for item in [
        "pub use client::step;",
        "pub fn f() { client::step() }",
        "pub mod x { pub use crate::client::step; }",
        "m!();",
        "const A: u8 = 1;",
    ] {
        let found = found(&[("src/lib.rs", &format!("mod client;\n{item}\nmod store;"))]);
        assert!(found.iter().any(|it| it.starts_with("src/lib.rs:2: ")), "{item}: {found:?}");
    }
}

#[test]
fn comments_strings_and_other_crates_are_no_imports() {
    for line in [
        "// crate::client::step",
        "/* crate::client /* nested */ crate::client::step */",
        "//! [`crate::client::step`]",
        "#[doc = \"crate::client::step\"] struct A;",
        "fn f() { \"crate::client::step \\\" crate::client::step\"; }",
        "fn f() { r##\"crate::client \"# crate::client::step\"##; br\"crate::client::x\"; }",
        "use client::step;",
        "use ::client::step;",
        "fn f() { other::crate_::client::step(); x.client::<A>() }",
    ] {
        let text = format!("pub struct Row; pub fn row() {{}}\n{line}");
        assert_eq!(found(&[("src/store.rs", &text)]), [""; 0], "{line}");
    }
}

#[test]
fn an_import_behind_a_reexport_is_found() {
    // `client` may know `middle`, which shows what is `config`'s.
    let table = TABLE.replace("| the loop | `store` |", "| the loop | `middle`, `store` |")
        + "| `middle` | shows others | `config`, `store` |\n";
    for (middle, path) in [
        ("pub use crate::config::Key;", "crate::middle::Key"),
        ("pub use crate::config::Key as Name;", "crate::middle::Name"),
        ("pub use crate::config::*;", "crate::middle::Key"),
        ("pub use crate::config;", "crate::middle::config::Key"),
        ("use crate::config as c; pub use c::Key;", "crate::middle::Key"),
        (
            "pub use self::inner::Key; mod inner { pub use crate::config::Key; }",
            "crate::middle::Key",
        ),
    ] {
        let client = format!("use crate::store::row;\nuse {path};");
        let files = [
            ("src/middle.rs", format!("use crate::store::Row; {middle}")),
            ("src/config.rs", "pub use crate::store::Row; pub struct Key;".to_owned()),
            ("src/client.rs", client),
        ];
        let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (*a, b.as_str())).collect();
        let says = format!(
            "src/client.rs:2: `{path}`: `client` uses `config`, but `client` may know middle, store"
        );
        assert_eq!(found_by(&table, &files), [says], "{middle}");
    }
}

#[test]
fn a_module_under_another_name_is_followed() {
    let text =
        "pub struct Row; pub fn row() {}\nuse crate::client as other;\nfn f() { other::step() }";
    let found = found(&[("src/store.rs", text)]);
    assert!(found.iter().any(|it| it.starts_with("src/store.rs:3: `other::step`")), "{found:?}");
}

#[test]
fn tests_are_exempt_and_nothing_beside_them() {
    let exempt = "\
        pub struct Row; pub fn row() {}
        #[cfg(test)] mod tests;
        #[cfg(test)] mod inline { use crate::client::step; fn f() { crate::client::step() } }
        #[cfg(test)] use crate::client::step;
        #[cfg(test)] pub(crate) fn f() -> crate::client::Step { crate::client::step() }
        struct A { #[cfg(test)] step: crate::client::Step, }
        mod whole { #![cfg(test)] use crate::client::step; }
        #[cfg(test)] fn g<T: Into<Vec<u8>>>() -> Vec<T> { crate::client::step() }
        #[cfg(all(test, unix))] const A: [crate::client::Step; 1] = [crate::client::Step];";
    let tests = ("src/store/tests.rs", "use crate::client::step; mod deep { use super::step; }");
    assert_eq!(found(&[("src/store.rs", exempt), tests]), [""; 0]);
    for line in [
        "#[cfg(test)] use std::fs; use crate::client::step;",
        "#[cfg(test)] mod tests { } fn f() { crate::client::step() }",
        "struct A { #[cfg(test)] a: u8, step: crate::client::Step }",
        "#[cfg(not(test))] use crate::client::step;",
        "#[cfg(any(test, unix))] use crate::client::step;",
        "mod inner { #![cfg(test)] } use crate::client::step;",
        "fn f() { { #![cfg(test)] } crate::client::step() }",
        "fn f<#[cfg(test)] T>(x: crate::client::Step) {}",
        "fn f<A, #[cfg(test)] const B: u8>(x: crate::client::Step) {}",
        "fn f<#[cfg(test)] 'a>(x: crate::client::Step) {}",
        "fn f<#[cfg(test)] T: Into<Vec<u8>>>(x: crate::client::Step) {}",
        "struct A { #[cfg(test)] union: u8, step: crate::client::Step }",
    ] {
        let text = format!("pub struct Row; pub fn row() {{}}\n{line}");
        let found = found(&[("src/store.rs", &text)]);
        assert!(found.iter().any(|it| it.starts_with("src/store.rs:2: ")), "{line}: {found:?}");
    }
}

#[test]
fn the_table_is_complete_and_tight() {
    assert_eq!(
        found(&[("src/other.rs", "")]),
        ["src/other: this room is not in the table of docs/architecture.md"]
    );
    let table = TABLE.to_owned() + "| `other` | | nobody |\n";
    assert_eq!(
        found_by(&table, &[]),
        ["docs/architecture.md: the table has `other`, src/ has no such room"]
    );
    assert_eq!(
        found(&[("src/client.rs", "#[cfg(test)] use crate::store::row;")]),
        ["docs/architecture.md: `client` may know `store`, but does not use it: remove it"]
    );
    let circle = TABLE.replace("| rows | nobody |", "| rows | `config` |");
    let text = "use crate::config::Key; pub struct Row; pub fn row() {}";
    assert_eq!(
        found_by(
            &circle,
            &[("src/store.rs", text), ("src/config.rs", "use crate::store::Row; struct Key;")]
        ),
        [
            "docs/architecture.md: the table allows a circle: config → store",
            "circle of files: src/config.rs:1 uses `crate::store::Row` of src/store.rs; \
             src/store.rs:1 uses `crate::config::Key` of src/config.rs"
        ]
    );
}

#[test]
fn all_but_some_and_the_command_line() {
    let table = TABLE.to_owned() + "| `cli` | | all |\n| `daemon` | | all but `cli` |\n";
    let cli = ("src/cli/mod.rs", "use crate::daemon::run;");
    let daemon = ("src/daemon.rs", "use crate::client::step; pub fn run() {}");
    let main = ("src/main.rs", "use punchd::daemon;");
    assert_eq!(found_by(&table, &[cli, daemon, main]), [""; 0]);
    let daemon = ("src/daemon.rs", "use crate::cli::main;");
    assert_eq!(
        found_by(&table, &[("src/cli/mod.rs", ""), daemon, main]),
        [
            "src/daemon.rs:1: `crate::cli::main`: `daemon` uses `cli`, but `daemon` may know all but cli"
        ]
    );
}

#[test]
fn a_table_that_cannot_be_read_is_an_error() {
    assert!(Table::parse("no table").is_err());
    for row in
        ["| `a` | nobody |", "| a | | nobody |", "| `a` | | somebody |", "| `store` | | nobody |"]
    {
        assert!(Table::parse(&format!("{TABLE}{row}\n")).is_err(), "{row}");
    }
}
