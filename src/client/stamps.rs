//! The server's stamps (§6): they ask for nothing, for an upload from the start, or for one from the
//! place to which the server was set back.
//!
//! Servers send anything: None, 9999, times, dates. So 0 asks for everything only with a `CHECK`, or
//! after this server has sent another stamp; a lower stamp counts only once the server has proved
//! that it keeps stamps, by returning exactly what was sent at two different values. A number that
//! went up with another table proves and asks nothing: a server may mix the stamps of its tables.

use super::context::Context;
use super::session::Session;
use crate::protocol::stream::Table;
use crate::store::options::{CHECK, SERVER};
use crate::store::{NewRows, Stamp, StoreError};

/// Does what the stamps of a handshake ask for, and keeps what they show.
pub(super) fn apply(context: &Context, session: &Session) -> Result<(), StoreError> {
    let (store, server) = (&context.store, context.status.connection().server);
    store.atomically(|| {
        let same_server = store.options().get(SERVER)?.is_none_or(|known| known == server);
        let check = store.options().get(CHECK)?.is_some();
        for table in Table::ALL {
            let known = if same_server { store.stamps().get(table)? } else { Stamp::default() };
            let sent = session.options.stamp(table.stamp_names());
            let known = match sent.and_then(|text| text.parse().ok()) {
                Some(stamp) => apply_stamp(context, session, table, stamp, check, known)?,
                None => known,
            };
            store.stamps().set(table, known)?;
        }
        store.options().set(SERVER, &server)?;
        store.options().clear(CHECK)
    })
}

/// Does what the stamp of one table asks for. `check`: by the command `CHECK`.
fn apply_stamp(
    context: &Context,
    session: &Session,
    table: Table,
    stamp: i64,
    check: bool,
    known: Stamp,
) -> Result<Stamp, StoreError> {
    let outbox = context.store.outbox();
    let acknowledged = outbox.acknowledged(table)?;
    let resend = |from| -> Result<(), StoreError> {
        log::info!("the server asks for {} again: rows after {from} go up again", table.name());
        let wanted = session.allowed(table).into_iter();
        // A stamp of 0 is the server's own word for everything, whatever TransFlag says.
        let wanted = wanted.filter(|it| from == 0 || it.new_rows == NewRows::All);
        wanted.map(|it| it.stream).try_for_each(|stream| outbox.resend(stream, from))
    };
    if stamp == 0 {
        if check || known.nonzero {
            outbox.ask_for(table.streams())?;
            resend(0)?;
        }
        return Ok(Stamp { resent: known.resent, ..Stamp::default() });
    }
    let mut known = Stamp { nonzero: true, ..known };
    if stamp == acknowledged {
        known.proven |= known.proof != 0 && known.proof != stamp;
        known.proof = stamp;
    } else if outbox.is_of_another_table(table, stamp)? {
        if known.proven {
            let name = table.name();
            log::warn!(
                "the server gives the stamp of another table back as that of {name}: ignored"
            );
        }
        (known.proof, known.proven) = (0, false);
    } else if known.proven && (1..acknowledged).contains(&stamp) && !outbox.is_resending(table)? {
        resend(stamp)?;
        // To be believed once more, it has to prove itself once more.
        (known.proof, known.proven) = (0, false);
    }
    Ok(known)
}
