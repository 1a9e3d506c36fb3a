//! The modules of the crate, and where a path leads, through aliases, globs and re-exports.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

use super::source::{Mention, Module, ModulePath, Source};

/// More aliases than this in a row are a circle of them.
const MOST_ALIASES: usize = 32;

/// All sources.
pub struct Tree {
    pub sources: Vec<Source>,
    modules: BTreeMap<ModulePath, Place>,
    /// Macros at the root, and the module and file in which each is.
    exported_macros: BTreeMap<String, (ModulePath, String)>,
}

struct Place {
    file: String,
    module: Module,
}

/// Where a path leads.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct Found {
    /// The modules that it passes, and the one in which the item is.
    pub modules: BTreeSet<ModulePath>,
    /// The file in which the item is. None if the path ends at a module or leaves the crate.
    pub files: BTreeSet<String>,
}

impl Tree {
    /// Reads all of `src`.
    pub fn read(root: &Path) -> io::Result<Tree> {
        let mut files = Vec::new();
        list(&root.join("src"), "src", &mut files)?;
        files.sort();
        let texts: Vec<(String, String)> = files
            .into_iter()
            .map(|file| Ok((file.clone(), fs::read_to_string(root.join(&file))?)))
            .collect::<io::Result<_>>()?;
        Ok(Tree::new(texts.iter().map(|(file, text)| (file.as_str(), text.as_str()))))
    }

    /// Takes files by name and text.
    pub fn new<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Tree {
        let mut tree = Tree {
            sources: texts.into_iter().map(|(file, text)| Source::parse(file, text)).collect(),
            modules: BTreeMap::new(),
            exported_macros: BTreeMap::new(),
        };
        for source in &mut tree.sources {
            let file = &source.file;
            for (path, module) in std::mem::take(&mut source.modules) {
                for name in &source.exported_macros {
                    tree.exported_macros.insert(name.clone(), (path.clone(), file.clone()));
                }
                let place = Place { file: file.clone(), module };
                match tree.modules.get_mut(&path) {
                    // `main.rs` and `lib.rs` are one root here.
                    Some(known) => known.module.aliases.extend(place.module.aliases),
                    None => drop(tree.modules.insert(path, place)),
                }
            }
        }
        tree
    }

    /// The paths that the program is made of: all but those under `#[cfg(test)]`.
    ///
    /// This is the one exemption from the table: a test may use what it needs.
    pub fn mentions(&self) -> impl Iterator<Item = (&Source, &Mention)> {
        self.sources.iter().flat_map(|source| {
            source
                .mentions
                .iter()
                .filter(|mention| !self.is_test(mention))
                .map(move |it| (source, it))
        })
    }

    /// Top-level modules.
    pub fn rooms(&self) -> BTreeSet<&str> {
        self.modules.keys().filter_map(|path| path.first()).map(String::as_str).collect()
    }

    /// Follows a path from where it stands.
    pub fn resolve(&self, source: &Source, mention: &Mention) -> Found {
        let mut found = Found::default();
        let Some((last, parents)) = mention.segments.split_last() else { return found };
        if last != "*" {
            self.follow(&mention.module, &mention.segments, 0, &mut found);
            return found;
        }
        // A glob counts as an import of each name that the file mentions.
        self.follow(&mention.module, parents, 0, &mut found);
        let Some(target) = self.module(&mention.module, parents, 0) else { return found };
        for name in source.names.iter().filter(|name| self.binds(&target, name, 0)) {
            self.walk(&target, std::slice::from_ref(name), 0, &mut found);
        }
        found
    }

    fn is_test(&self, mention: &Mention) -> bool {
        mention.is_test
            || (0..mention.module.len()).any(|length| {
                let parent = self.modules.get(&mention.module[..length]);
                parent.is_some_and(|parent| {
                    parent.module.test_children.contains(&mention.module[length])
                })
            })
    }

    fn follow(&self, from: &ModulePath, segments: &[String], aliases: usize, found: &mut Found) {
        if let Some((module, rest)) = self.start(from, segments, aliases) {
            self.walk(&module, rest, aliases, found);
        }
    }

    /// The module at which a path begins. None if it is another crate's.
    fn start<'a>(
        &self,
        from: &ModulePath,
        segments: &'a [String],
        aliases: usize,
    ) -> Option<(ModulePath, &'a [String])> {
        let (head, rest) = segments.split_first()?;
        match head.as_str() {
            "crate" | "punchd" => Some((Vec::new(), rest)),
            "self" => self.start_above(from.clone(), rest),
            "super" => self.start_above(parent(from), rest),
            _ => self.binds(from, head, aliases).then(|| (from.clone(), segments)),
        }
    }

    fn start_above<'a>(
        &self,
        mut module: ModulePath,
        mut rest: &'a [String],
    ) -> Option<(ModulePath, &'a [String])> {
        while let Some((_, after)) = rest.split_first().filter(|(head, _)| *head == "super") {
            module = parent(&module);
            rest = after;
        }
        Some((module, rest))
    }

    fn walk(&self, module: &ModulePath, segments: &[String], aliases: usize, found: &mut Found) {
        found.modules.insert(module.clone());
        let (Some(place), Some((head, rest))) = (self.modules.get(module), segments.split_first())
        else {
            return;
        };
        let mut is_known = false;
        if place.module.items.contains(head) {
            found.files.insert(place.file.clone());
            is_known = true;
        }
        if module.is_empty()
            && let Some((module, file)) = self.exported_macros.get(head)
        {
            found.modules.insert(module.clone());
            found.files.insert(file.clone());
            return;
        }
        let child = child(module, head);
        if self.modules.contains_key(&child) {
            self.walk(&child, rest, aliases, found);
            is_known = true;
        }
        if is_known || aliases > MOST_ALIASES {
            return;
        }
        for (_, path) in place.module.aliases.iter().filter(|(name, _)| name == head) {
            let target = [path.as_slice(), rest].concat();
            self.follow(module, &target, aliases + 1, found);
            is_known = true;
        }
        for glob in place.module.globs.iter().filter(|_| !is_known) {
            let target = self.module(module, glob, aliases + 1);
            if let Some(target) = target.filter(|target| self.binds(target, head, aliases + 1)) {
                return self.walk(&target, segments, aliases + 1, found);
            }
        }
        // What a macro defines cannot be seen: it counts as the module's own.
        if !is_known && !module.is_empty() {
            found.files.insert(place.file.clone());
        }
    }

    /// Whether a name means something in a module.
    fn binds(&self, module: &ModulePath, name: &str, aliases: usize) -> bool {
        let Some(Place { module: inside, .. }) = self.modules.get(module) else { return false };
        let is_exported = module.is_empty() && self.exported_macros.contains_key(name);
        inside.items.contains(name)
            || is_exported
            || self.modules.contains_key(&child(module, name))
            || inside.aliases.iter().any(|(alias, _)| alias == name)
            || aliases < MOST_ALIASES
                && inside.globs.iter().any(|glob| {
                    let target = self.module(module, glob, aliases + 1);
                    target.is_some_and(|target| self.binds(&target, name, aliases + 1))
                })
    }

    /// The module to which a path leads, if it leads to one.
    fn module(&self, from: &ModulePath, path: &[String], aliases: usize) -> Option<ModulePath> {
        if aliases > MOST_ALIASES || path.is_empty() {
            return None;
        }
        let (mut module, rest) = match path[0].as_str() {
            // A glob is no way to the module that another glob of the same module is from.
            "crate" | "punchd" | "self" | "super" => self.start(from, path, aliases)?,
            _ => (from.clone(), path),
        };
        for (index, name) in rest.iter().enumerate() {
            let next = child(&module, name);
            if self.modules.contains_key(&next) {
                module = next;
                continue;
            }
            let place = self.modules.get(&module)?;
            let (_, target) = place.module.aliases.iter().find(|(alias, _)| alias == name)?;
            let target = [target.as_slice(), &rest[index + 1..]].concat();
            return self.module(&module, &target, aliases + 1);
        }
        Some(module)
    }
}

fn parent(module: &ModulePath) -> ModulePath {
    module[..module.len().saturating_sub(1)].to_vec()
}

fn child(module: &ModulePath, name: &str) -> ModulePath {
    [module.as_slice(), &[name.to_owned()]].concat()
}

fn list(directory: &Path, name: &str, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &name, files)?;
        } else if name.ends_with(".rs") {
            files.push(name);
        }
    }
    Ok(())
}
