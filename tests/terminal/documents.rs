//! The documents say what is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// All Rust files beneath a directory of the project.
fn sources(directory: &Path, found: &mut String) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

fn project(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn coverage_names_every_item_once_and_only_tests_that_exist() {
    let mut tests = String::new();
    sources(&project("tests"), &mut tests);
    let text = fs::read_to_string(project("docs/coverage.md")).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let (field, rows): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row[1] == "id" || row[1].starts_with('N'));
    let ids: BTreeSet<&str> = rows.iter().map(|row| row[1]).collect();
    let expected: BTreeSet<String> = [
        ("S", 12),
        ("U", 18),
        ("C", 2),
        ("D", 18),
        ("E", 10),
        ("Q", 4),
        ("K", 9),
        ("F", 4),
        ("R", 3),
        ("X", 6),
    ]
    .iter()
    .flat_map(|(letter, count)| (1..=*count).map(move |nth| format!("{letter}{nth}")))
    .collect();
    assert_eq!(ids, expected.iter().map(String::as_str).collect());
    assert_eq!(rows.len(), ids.len());
    for row in rows {
        let shown = row[4].trim_matches('`');
        assert!(
            shown == "not yet" || tests.contains(&format!("fn {shown}()")),
            "{}: {shown}",
            row[1]
        );
    }
    // What servers in the field add: several tests for an item, some of them beside the sources.
    sources(&project("src"), &mut tests);
    for row in field.iter().filter(|row| row[1] != "id") {
        for shown in row[3].split(", ").map(|name| name.trim_matches('`')) {
            assert!(tests.contains(&format!("fn {shown}(")), "{}: {shown}", row[1]);
        }
    }
}

#[test]
fn promises_name_only_tests_that_exist() {
    let mut tests = String::new();
    sources(&project("tests"), &mut tests);
    sources(&project("src"), &mut tests);
    for document in ["docs/promises.md", "docs/security.md"] {
        let text = fs::read_to_string(project(document)).unwrap();
        let text = text.split("\n## Mechanisms").next().unwrap();
        // A test's name has many words; a key of the configuration has few.
        let is_test = |name: &&str| name.matches('_').count() > 2 && !name.contains('/');
        for name in text.split('`').skip(1).step_by(2).filter(is_test) {
            assert!(tests.contains(&format!("fn {name}(")), "{document}: {name}");
        }
    }
}

/// `scripts/mutants` tries the rows; here they are only compared with the sources, which is quick.
#[test]
fn each_mechanism_of_the_table_stands_once_in_its_file() {
    let text = fs::read_to_string(project("docs/promises.md")).unwrap();
    let table = text.split_once("\n## Mechanisms").unwrap().1;
    let mut tests = String::new();
    sources(&project("tests"), &mut tests);
    sources(&project("src"), &mut tests);
    let rows: Vec<&str> = table.lines().filter(|line| line.contains(" | `src/")).collect();
    assert!(rows.len() >= 40, "{} rows", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [_, file, change, test] = cells[..] else { panic!("{row}") };
        let test = test.trim_matches(['`', ' ', '|']);
        assert!(tests.contains(&format!("fn {test}(")), "{row}");
        let old = change.split_once(" → ").unwrap().0.trim_matches('`').trim();
        let source = fs::read_to_string(project(file.trim_matches('`'))).unwrap();
        assert_eq!(source.matches(&old.replace("\\|", "|")).count(), 1, "{row}");
    }
}

/// The chapters of the protocol document that a text cites: `§11.2`, `App. 3`.
fn cited(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for sign in ["§", "App. "] {
        for (at, _) in text.match_indices(sign) {
            let rest = &text[at + sign.len()..];
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let number = rest[..end].trim_end_matches('.');
            if !number.is_empty() {
                found.insert(format!("{sign}{number}"));
            }
        }
    }
    found
}

/// Every chapter that the sources and the documents cite has a heading in docs/protocol.md or beneath
/// docs/protocol.
#[test]
fn every_cited_chapter_of_the_protocol_has_a_heading() {
    let documents = |directory: &str| -> Vec<String> {
        fs::read_dir(project(directory))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
            .map(|path| fs::read_to_string(path).unwrap())
            .collect()
    };
    let protocol = documents("docs/protocol").join("\n");
    let index = fs::read_to_string(project("docs/protocol.md")).unwrap();
    let headings: BTreeSet<&str> = [&protocol, &index]
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| line.starts_with("## ") || line.starts_with("### "))
        .map(|line| line.trim_start_matches(['#', ' ']))
        .collect();
    let has_heading = |chapter: &String| {
        headings.iter().any(|heading| {
            heading.strip_prefix(chapter.as_str()).is_some_and(|rest| rest.starts_with(' '))
        })
    };
    let mut citing = protocol.clone();
    for directory in ["src", "tests", "fuzz"] {
        sources(&project(directory), &mut citing);
    }
    for text in documents("docs").into_iter().chain(documents(".")) {
        citing.push_str(&text);
    }
    let chapters = cited(&citing);
    assert!(chapters.len() > 60, "{chapters:?}");
    let missing: Vec<_> = chapters.iter().filter(|chapter| !has_heading(chapter)).collect();
    assert!(missing.is_empty(), "no heading in docs/protocol.md or docs/protocol: {missing:?}");
}

/// The tables of a document, each with the heading above it, without links.
fn tables(text: &str) -> Vec<(String, String)> {
    let (mut heading, mut found) = (String::new(), Vec::<(String, String)>::new());
    let mut is_going_on = false;
    for line in text.lines() {
        let is_row = line.starts_with('|');
        if let Some(words) = line.strip_prefix("##") {
            heading = words.trim_start_matches('#').trim().to_owned();
        } else if is_row {
            if !is_going_on {
                found.push((heading.clone(), String::new()));
            }
            let row = without_links(line) + "\n";
            found.last_mut().expect("one was begun").1 += &row;
        }
        is_going_on = is_row;
    }
    found
}

/// `[words](target)` is its words.
fn without_links(line: &str) -> String {
    let (mut text, mut rest) = (String::new(), line);
    while let Some((before, link)) = rest.split_once('[') {
        let (words, after) = link.split_once("](").expect("a link has a target");
        text += &[before, words].concat();
        rest = after.split_once(')').expect("a target has an end").1;
    }
    text + rest
}

#[test]
fn the_code_tables_for_drivers_are_those_of_the_protocol() {
    let chapters: Vec<_> = ["codes", "uploads-people"]
        .iter()
        .map(|name| fs::read_to_string(project(&format!("docs/protocol/{name}.md"))).unwrap())
        .flat_map(|text| tables(&text))
        .collect();
    let drivers = fs::read_to_string(project("docs/drivers.md")).unwrap();
    let (_, codes) = drivers.split_once("\n## Code tables\n").unwrap();
    let codes = tables(codes);
    assert_eq!(codes.len(), 6);
    for table in codes {
        assert!(chapters.contains(&table), "no chapter of docs/protocol has {table:?}");
    }
}

#[test]
fn every_key_of_the_configuration_is_documented() {
    let config = ["mod", "tables", "dialect"]
        .map(|name| fs::read_to_string(project(&format!("src/config/{name}.rs"))).unwrap())
        .concat();
    let documented = fs::read_to_string(project("docs/configuration.md")).unwrap();
    let fields: Vec<&str> = config.lines().filter_map(field).collect();
    assert!(fields.len() > 60, "{fields:?}");
    let tables = [
        "commands",
        "device",
        "dialect",
        "drivers",
        "encryption",
        "limits",
        "proxy",
        "remote",
        "timeouts",
        "tls",
        "upgrade",
        "upload",
        "verification",
    ];
    for field in fields {
        let shown =
            if tables.contains(&field) { format!("`[{field}]`") } else { format!("| `{field}`") };
        assert!(documented.contains(&shown), "{field} is not in docs/configuration.md");
    }
}

/// The name of the field that a line declares, with or without `pub` or `pub(…)`.
fn field(line: &str) -> Option<&str> {
    let (before, _) = line.strip_prefix("    ")?.split_once(": ")?;
    let name = match before.strip_prefix("pub") {
        Some(rest) => rest.split_once(' ')?.1,
        None => before,
    };
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some(name)
}
