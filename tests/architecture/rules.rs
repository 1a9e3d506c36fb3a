//! What the table demands of the sources.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use super::source::{Mention, Source, module_of};
use super::table::{Allowed, Table};
use super::tree::Tree;

/// Something that is not as the table has it.
#[derive(Debug, PartialEq, Eq)]
pub enum Violation {
    /// A path that leads to a room that its own room may not know.
    Forbidden { place: String, path: String, from: String, to: String, says: String },
    /// What cannot be followed.
    Refused { place: String, says: String },
    /// A room without a row.
    Unlisted { room: String },
    /// A row without a room.
    Absent { room: String },
    /// The table allows what nothing uses.
    Unused { from: String, to: String },
    /// The table itself allows a circle of rooms.
    CircleOfRooms { rooms: Vec<String> },
    /// Files of which each uses the next, and the last the first.
    CircleOfFiles { steps: Vec<String> },
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Violation::Forbidden { place, path, from, to, says } => {
                write!(out, "{place}: `{path}`: `{from}` uses `{to}`, but {says}")
            }
            Violation::Refused { place, says } => write!(out, "{place}: {says}"),
            Violation::Unlisted { room } => {
                write!(out, "src/{room}: this room is not in the table of docs/architecture.md")
            }
            Violation::Absent { room } => {
                write!(out, "docs/architecture.md: the table has `{room}`, src/ has no such room")
            }
            Violation::Unused { from, to } => write!(
                out,
                "docs/architecture.md: `{from}` may know `{to}`, but does not use it: remove it"
            ),
            Violation::CircleOfRooms { rooms } => {
                write!(
                    out,
                    "docs/architecture.md: the table allows a circle: {}",
                    rooms.join(" → ")
                )
            }
            Violation::CircleOfFiles { steps } => {
                write!(out, "circle of files: {}", steps.join("; "))
            }
        }
    }
}

/// Everything that is not as the table has it.
pub fn violations(table: &Table, tree: &Tree) -> Vec<Violation> {
    let mut found = refused(tree);
    found.extend(rooms(table, tree));
    found.extend(arrows(table, tree));
    found.extend(circles_of_rooms(table));
    found.extend(circles_of_files(tree));
    found
}

fn refused(tree: &Tree) -> Vec<Violation> {
    let lines = tree.sources.iter().flat_map(|source| {
        source.refused.iter().map(|(line, says)| (format!("{}:{line}", source.file), says))
    });
    lines.map(|(place, says)| Violation::Refused { place, says: says.clone() }).collect()
}

/// Rooms without a row, and rows without a room.
fn rooms(table: &Table, tree: &Tree) -> Vec<Violation> {
    let rooms = tree.rooms();
    let unlisted = rooms.iter().filter(|room| !table.rows.contains_key(**room));
    let absent = table.rows.keys().filter(|room| !rooms.contains(room.as_str()));
    unlisted
        .map(|room| Violation::Unlisted { room: (*room).to_owned() })
        .chain(absent.map(|room| Violation::Absent { room: room.clone() }))
        .collect()
}

/// Paths that the table forbids, and permissions that no path uses.
fn arrows(table: &Table, tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut used = BTreeSet::new();
    for (source, mention) in tree.mentions() {
        let Some(from) = room_of(mention) else { continue };
        let targets = tree.resolve(source, mention).modules;
        let rooms: BTreeSet<&String> = targets.iter().filter_map(|path| path.first()).collect();
        for to in rooms.into_iter().filter(|to| **to != from) {
            used.insert((from.clone(), to.clone()));
            if !table.allows(&from, to) {
                found.push(Violation::Forbidden {
                    place: format!("{}:{}", mention.file, mention.line),
                    path: mention.segments.join("::"),
                    from: from.clone(),
                    to: to.clone(),
                    says: table.says(&from),
                });
            }
        }
    }
    for (from, allowed) in &table.rows {
        let Allowed::Rooms(rooms) = allowed else { continue };
        for to in rooms.iter().filter(|to| !used.contains(&(from.clone(), (*to).clone()))) {
            found.push(Violation::Unused { from: from.clone(), to: to.clone() });
        }
    }
    found
}

/// The room of a path. `main.rs` starts the command line and belongs to it; `lib.rs` is no room.
fn room_of(mention: &Mention) -> Option<String> {
    match mention.module.first() {
        None if mention.file == "src/main.rs" => Some("cli".to_owned()),
        room => room.cloned(),
    }
}

fn circles_of_rooms(table: &Table) -> Vec<Violation> {
    let mut graph = BTreeMap::new();
    for from in table.rows.keys() {
        let known = table.rows.keys().filter(|to| *to != from && table.allows(from, to));
        graph.insert(from.clone(), known.map(|to| (to.clone(), ())).collect());
    }
    circles(&graph).into_iter().map(|rooms| Violation::CircleOfRooms { rooms }).collect()
}

/// Files that use one another.
fn circles_of_files(tree: &Tree) -> Vec<Violation> {
    let mut graph: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (source, mention) in tree.mentions() {
        for target in tree.resolve(source, mention).files {
            if is_mere_reexport(source, mention, &target) {
                continue;
            }
            let step = format!(
                "{}:{} uses `{}` of {target}",
                mention.file,
                mention.line,
                mention.segments.join("::")
            );
            if target != mention.file {
                graph.entry(mention.file.clone()).or_default().entry(target).or_insert(step);
            }
        }
    }
    circles(&graph)
        .into_iter()
        .map(|files| Violation::CircleOfFiles {
            steps: (0..files.len())
                .map(|at| graph[&files[at]][&files[(at + 1) % files.len()]].clone())
                .collect(),
        })
        .collect()
}

/// A `pub use` of what a file below has, whose name the rest of the file does not use: a parent
/// that only shows what its children have does not depend on them.
fn is_mere_reexport(source: &Source, mention: &Mention, target: &str) -> bool {
    let is_below = module_of(target).starts_with(&mention.module);
    let name = mention.reexported_as.as_ref().filter(|_| is_below);
    name.is_some_and(|name| !source.names.contains(name))
}

/// For each edge that lies on a circle, the shortest one through it; each once.
fn circles<T>(graph: &BTreeMap<String, BTreeMap<String, T>>) -> Vec<Vec<String>> {
    let mut found = BTreeSet::new();
    for (from, targets) in graph {
        for to in targets.keys() {
            let Some(mut circle) = way(graph, to, from) else { continue };
            let first = (0..circle.len()).min_by_key(|at| &circle[*at]).unwrap_or(0);
            circle.rotate_left(first);
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

/// The nodes on the shortest way from one to another, both included.
fn way<T>(
    graph: &BTreeMap<String, BTreeMap<String, T>>,
    from: &String,
    to: &String,
) -> Option<Vec<String>> {
    let mut before: BTreeMap<&String, &String> = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        if node == to {
            let mut way = vec![node.clone()];
            let mut node = node;
            while node != from {
                node = before[node];
                way.insert(0, node.clone());
            }
            return Some(way);
        }
        for next in graph.get(node).into_iter().flat_map(BTreeMap::keys) {
            if next != from && !before.contains_key(next) {
                before.insert(next, node);
                queue.push_back(next);
            }
        }
    }
    None
}
