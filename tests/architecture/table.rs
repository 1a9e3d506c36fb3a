//! The table of rooms in `docs/architecture.md`.

use std::collections::{BTreeMap, BTreeSet};

/// Whom a room may know.
#[derive(Debug, PartialEq, Eq)]
pub enum Allowed {
    /// These. Each has to be used.
    Rooms(BTreeSet<String>),
    /// Every room but these.
    AllBut(BTreeSet<String>),
}

/// The rooms, and whom each may know.
#[derive(Debug)]
pub struct Table {
    pub rows: BTreeMap<String, Allowed>,
}

impl Table {
    /// Reads the first table whose heading begins with `| room |`.
    pub fn parse(document: &str) -> Result<Table, String> {
        let mut rows = BTreeMap::new();
        let lines = document.lines().skip_while(|line| !line.starts_with("| room |")).skip(2);
        for line in lines.take_while(|line| line.starts_with('|')) {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [room, _, allowed] = cells[..] else {
                return Err(format!("not three columns: {line}"));
            };
            let [room] = &quoted(room)[..] else {
                return Err(format!("the first column has to name one room: {line}"));
            };
            if rows.insert(room.clone(), self::allowed(allowed)?).is_some() {
                return Err(format!("{room} has two rows"));
            }
        }
        if rows.is_empty() {
            return Err("there is no table that begins with `| room |`".to_owned());
        }
        Ok(Table { rows })
    }

    /// Whether the table lets a room know another one.
    pub fn allows(&self, from: &str, to: &str) -> bool {
        match self.rows.get(from) {
            None => false,
            Some(Allowed::Rooms(rooms)) => rooms.contains(to),
            Some(Allowed::AllBut(rooms)) => !rooms.contains(to),
        }
    }

    /// What the table says of a room, for a message.
    pub fn says(&self, room: &str) -> String {
        let list = |rooms: &BTreeSet<String>| rooms.iter().cloned().collect::<Vec<_>>().join(", ");
        match self.rows.get(room) {
            None => format!("`{room}` is not in the table"),
            Some(Allowed::Rooms(rooms)) if rooms.is_empty() => format!("`{room}` may know nobody"),
            Some(Allowed::Rooms(rooms)) => format!("`{room}` may know {}", list(rooms)),
            Some(Allowed::AllBut(rooms)) if rooms.is_empty() => format!("`{room}` may know all"),
            Some(Allowed::AllBut(rooms)) => format!("`{room}` may know all but {}", list(rooms)),
        }
    }
}

/// `nobody`, `all`, ``all but `a`, `b` `` or `` `a`, `b` ``.
fn allowed(cell: &str) -> Result<Allowed, String> {
    let rooms: BTreeSet<String> = quoted(cell).into_iter().collect();
    match cell {
        "nobody" | "all" if !rooms.is_empty() => unreachable!("neither has a quoted name"),
        "nobody" => Ok(Allowed::Rooms(rooms)),
        "all" => Ok(Allowed::AllBut(rooms)),
        _ if rooms.is_empty() => Err(format!("no room in `name`, not nobody, not all: {cell}")),
        _ if cell.starts_with("all but ") => Ok(Allowed::AllBut(rooms)),
        _ => Ok(Allowed::Rooms(rooms)),
    }
}

/// The names in back-ticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
