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
    let (store, _) = Store::open_marked(path, limits).map_err(Stop::Store)?;
    let loss = format!(
        "the store {} was damaged; it was renamed to {}, and an empty store was made. Punches in it \
         that were not uploaded may still be rescued",
        path.display(),
        damaged.display()
    );
    Ok((store, Some(loss)))
}

/// Says what was lost wherever a person may look.
fn report(store: &Store, loss: &str) {
    log::error!("{loss}");
    match store.add_notice(loss) {
        Ok(file) => {
            log::error!("`punchd status` shows this until {} is removed", file.display());
        }
        Err(error) => log::error!("the notice of this cannot be written: {error}"),
    }
    let message: String = loss.chars().take(200).collect();
    let line = ErrorCode::new(STORE_LOST)
        .and_then(|code| ErrorLog::new(code, &message, None, serde_json::Value::Null));
    let added = line.map(|line| store.error_log().add(&line));
    if !matches!(added, Ok(Ok(_))) {
        log::error!("the error log could not be written");
    }
}
