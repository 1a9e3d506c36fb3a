//! Opening the store at start: a damaged one is set aside where the owner wants it, and what was lost
//! is said in the log, in ERRORLOG, and in a file that `punchd status` shows until a person removes it.

use std::path::Path;

use super::stop::Stop;
use crate::config::Config;
use crate::protocol::record::{ErrorCode, ErrorLog};
use crate::store::{Limits, Loss, Store, StoreError};

/// Most stores that are set aside without a person: the disk may be at fault, and must not fill.
const MOST_SET_ASIDE: usize = 3;
/// The code of a lost store in ERRORLOG: an error of the PUSH module, as App. 9 builds its codes.
const STORE_LOST: &str = "D01E1004";

/// Opens the store. `is_asked`: the command line wants a damaged one set aside.
pub(super) fn open(config: &Config, is_asked: bool) -> Result<Store, Stop> {
    let (path, limits) = (&config.store, config.store_limits());
    let (store, loss) = match Store::open_marked(path, limits) {
        Ok(opened) => opened,
        Err(error @ StoreError::Damaged { .. }) => {
            let found = Store::count_set_aside(path);
            let is_bounded = found < MOST_SET_ASIDE;
            if !is_asked && config.sets_damaged_store_aside() && !is_bounded {
                log::error!("the store is not set aside: {found} others are beside it already");
            }
            let is_wanted = is_asked || (config.sets_damaged_store_aside() && is_bounded);
            if !is_wanted {
                return Err(Stop::Damaged(error));
            }
            set_aside(path, limits, &error)?
        }
        Err(error @ StoreError::Foreign { .. }) => return Err(Stop::Damaged(error)),
        Err(error) => return Err(Stop::Store(error)),
    };
    if let Some(loss) = loss {
        report(&store, &loss);
    } else if let Some((notice, file)) = store.notice() {
        log::warn!("{notice} (remove {} when this is settled)", file.display());
    }
    Ok(store)
}

/// Sets a damaged store aside and opens an empty one. A store that reads well now is left where it is.
fn set_aside(
    path: &Path,
    limits: Limits,
    error: &StoreError,
) -> Result<(Store, Option<Loss>), Stop> {
    match Store::open_marked(path, limits) {
        Err(StoreError::Damaged { .. }) => {}
        Err(error) => return Err(Stop::Store(error)),
        Ok(opened) => {
            log::warn!("{error}");
            log::warn!("the store reads well now: it is not set aside. Check its disk");
            return Ok(opened);
        }
    }
    let damaged = Store::set_aside(path)
        .map_err(|io| Stop::System(format!("{} cannot be renamed: {io}", path.display())))?;
    log::warn!("{error}");
    let loss = format!(
        "the store {} was damaged; it was renamed to {}, and an empty store was made. Punches in it \
         that were not uploaded may still be rescued",
        path.display(),
        damaged.display()
    );
    // Before the new store: nothing is wrong with that one, if a start after a power cut finds it.
    Store::add_notice(path, &loss);
    let (store, _) = Store::open_marked(path, limits).map_err(Stop::Store)?;
    Ok((store, Some(loss)))
}

/// Says what was lost wherever a person may look.
fn report(store: &Store, loss: &str) {
    log::error!("{loss}");
    if let Some((_, file)) = store.notice() {
        log::error!("`punchd status` shows this until {} is removed", file.display());
    }
    let message: String = loss.chars().take(200).collect();
    let line = ErrorCode::new(STORE_LOST)
        .and_then(|code| ErrorLog::new(code, &message, None, serde_json::Value::Null));
    let added = line.map(|line| store.error_log().add(&line));
    if !matches!(added, Ok(Ok(_))) {
        log::error!("the error log could not be written");
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::client::simulation::random::Random;
    use crate::protocol::time::LocalTime;
    use crate::store::recorded_disk::{Change, Image, Recording};
    use crate::store::{Moment, NewPunch};

    struct TestDir(PathBuf);

    impl TestDir {
        fn new(name: &str) -> Self {
            let shared = Path::new("/dev/shm");
            let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
            let dir = parent.join(format!("punchd-aside-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn config(&self) -> Config {
            let mut config: Config =
                toml::from_str("server = \"http://h\"\nserial = \"S\"").unwrap();
            config.store = self.0.join("punchd.db");
            config
        }
    }

    impl Drop for TestDir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn punch(store: &Store) {
        let time = Moment::At(LocalTime::from_seconds(1_800_000_000).unwrap());
        store.journal().add_punch(&NewPunch::of("7", time)).unwrap();
    }

    /// A store of which one page is damaged.
    fn damaged(config: &Config) -> Vec<u8> {
        let store = open(config, false).unwrap();
        (0..400).for_each(|_| punch(&store));
        drop(store);
        let mut bytes = std::fs::read(&config.store).unwrap();
        let middle = bytes.len() / 2048 * 1024;
        bytes[middle..middle + 1024].fill(0xAA);
        std::fs::write(&config.store, &bytes).unwrap();
        bytes
    }

    #[test]
    fn a_power_cut_while_a_store_is_set_aside_loses_neither_it_nor_the_word_of_it() {
        let (dir, copy) = (TestDir::new("recorded"), TestDir::new("image"));
        let (config, config_of_copy) = (dir.config(), copy.config());
        let damaged = damaged(&config);
        let recording = Recording::start(&dir.0);
        let store = open(&config, true).unwrap();
        punch(&store);
        let acknowledged = recording.position();
        drop(store);
        let tape = recording.end();
        let (mut disk, mut random) = (tape.start.clone(), Random::new(1));
        for cut in 0..=tape.changes.len() {
            let next = tape.changes.get(cut);
            // Of the many writes of a new store some; each moment beside anything else.
            let is_looked_at = !matches!(next, Some(Change::Write { .. })) || cut % 25 == 0;
            if is_looked_at {
                let image = match next {
                    Some(change) => disk.image_amid(change, &mut random),
                    None => disk.image(&mut random),
                };
                image.write(&copy.0);
                let story = format!("a cut before change {cut}: {}", image.story.join("\n"));
                let store = open(&config_of_copy, true).expect(&story);
                assert!(store.notice().is_some(), "nothing says what was lost; {story}");
                let punches = store.journal().count_punches().unwrap();
                assert!(punches > 0 || cut < acknowledged, "{story}");
                drop(store);
                let files = Image::read(&copy.0).files;
                assert!(
                    files.values().any(|file| *file == damaged),
                    "the damaged store is gone; {story}"
                );
            }
            next.into_iter().for_each(|change| disk.change(change));
        }
    }
}
