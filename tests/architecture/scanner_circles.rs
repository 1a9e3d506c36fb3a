//! Made-up sources with and without circles of files.

use super::rules::violations;
use super::scanner::{SOUND, TABLE};
use super::table::Table;
use super::tree::Tree;

#[test]
fn circles_of_files_are_found() {
    let row = "pub struct Row; pub fn row() {}";
    for (root, others, circle) in [
        // Parent and child.
        (
            "mod a; use a::A; pub struct B;",
            vec![("src/store/a.rs", "use super::B; pub struct A;")],
            "src/store/a.rs:1 uses `super::B` of src/store/mod.rs; src/store/mod.rs:1 uses `a::A` of src/store/a.rs",
        ),
        // The parent shows what the child has, and uses it too.
        (
            "mod a; pub use a::A; pub struct B; fn f(_: A) {}",
            vec![("src/store/a.rs", "use super::B; pub struct A;")],
            "src/store/a.rs:1 uses `super::B` of src/store/mod.rs; src/store/mod.rs:1 uses `a::A` of src/store/a.rs",
        ),
        // Two, of which one is named by the parent's re-export.
        (
            "mod a; mod b; pub use b::B;",
            vec![
                ("src/store/a.rs", "use super::B; pub struct A;"),
                ("src/store/b.rs", "pub struct B; fn f() -> super::a::A { super::a::A }"),
            ],
            "src/store/a.rs:1 uses `super::B` of src/store/b.rs; src/store/b.rs:1 uses `super::a::A` of src/store/a.rs",
        ),
        // By struct update.
        (
            "mod a; mod b;",
            vec![
                ("src/store/a.rs", "use super::b::B; pub struct A;"),
                ("src/store/b.rs", "pub struct B; fn f() { B { ..super::a::A } }"),
            ],
            "src/store/a.rs:1 uses `super::b::B` of src/store/b.rs; src/store/b.rs:1 uses `super::a::A` of src/store/a.rs",
        ),
        // From a module within a function.
        (
            "mod a; mod b;",
            vec![
                ("src/store/a.rs", "use super::b::B; pub struct A;"),
                ("src/store/b.rs", "pub struct B; fn f() { mod c { use super::super::a::A; } }"),
            ],
            "src/store/a.rs:1 uses `super::b::B` of src/store/b.rs; src/store/b.rs:1 uses `super::super::a::A` of src/store/a.rs",
        ),
        // By a re-export of what no child has.
        (
            "mod a; mod b;",
            vec![
                ("src/store/a.rs", "use super::b; pub use b::B; pub struct A;"),
                ("src/store/b.rs", "pub struct B; fn f(_: super::a::A) {}"),
            ],
            "src/store/a.rs:1 uses `b::B` of src/store/b.rs; src/store/b.rs:1 uses `super::a::A` of src/store/a.rs",
        ),
        // Three.
        (
            "mod a; mod b; mod c;",
            vec![
                ("src/store/a.rs", "use super::b; fn f() { b::g() }"),
                ("src/store/b.rs", "pub fn g() { m!(crate::store::c::h()) }"),
                ("src/store/c.rs", "pub fn h() {} mod deep { use super::super::a::f; }"),
            ],
            "src/store/a.rs:1 uses `b::g` of src/store/b.rs; src/store/b.rs:1 uses `crate::store::c::h` of src/store/c.rs; src/store/c.rs:1 uses `super::super::a::f` of src/store/a.rs",
        ),
    ] {
        let root = format!("{row} {root}");
        let mut files = vec![("src/store/mod.rs", root.as_str())];
        files.extend(others);
        let tree = Tree::new(
            SOUND.iter().filter(|(name, _)| *name != "src/store.rs").chain(&files).copied(),
        );
        let found = violations(&Table::parse(TABLE).unwrap(), &tree);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, [format!("circle of files: {circle}")]);
    }
}

#[test]
fn what_is_no_circle_of_files() {
    for (root, child) in [
        // Declared and shown only.
        ("mod a; pub use a::A; pub struct B;", "use super::B; pub struct A;"),
        ("mod a; pub use a::*; pub struct B;", "use super::B; pub struct A;"),
        // In one way only.
        ("mod a; use a::A;", "pub struct A;"),
        // In tests.
        (
            "mod a; pub struct B; #[cfg(test)] mod tests { use super::a::A; }",
            "use super::B; pub struct A;",
        ),
    ] {
        let root = format!("pub struct Row; pub fn row() {{}} {root}");
        let sound = SOUND.iter().filter(|(name, _)| *name != "src/store.rs");
        let files = [("src/store/mod.rs", root.as_str()), ("src/store/a.rs", child)];
        let tree = Tree::new(sound.chain(&files).copied());
        assert_eq!(violations(&Table::parse(TABLE).unwrap(), &tree), [], "{root}");
    }
}
