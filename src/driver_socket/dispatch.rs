//! Which function carries out which method.

use super::call::Reply;
use super::context::MethodContext;
use super::drivers::Driver;
use super::error::MethodError;
use super::{
    biometrics, changes, deletions, maintenance, operations, options, people, punches,
    registration, server_queries,
};
use crate::rpc::{Method, Params};

/// Carries out a call. One that writes runs inside a transaction of the caller.
pub(super) fn execute(
    context: &MethodContext,
    driver: &mut Driver,
    method: Method,
    params: &Params,
) -> Result<Reply, MethodError> {
    let done = match method {
        Method::Register => registration::register(context, driver, params),
        Method::Punch => punches::punch(context, params),
        Method::Photo => punches::photo(context, params),
        Method::Operation => operations::operation(context, params),
        Method::Alarm => operations::alarm(context, params),
        Method::Error => operations::error(context, params),
        Method::UserGet => people::get(context, params),
        Method::UserPut => people::put(context, params),
        Method::IdcardPut => people::put_id_card(context, params),
        Method::TemplatePut => biometrics::put_template(context, params),
        Method::PicturePut => biometrics::put_picture(context, params),
        Method::UserDelete => deletions::user(context, params),
        Method::TemplateDelete => deletions::template(context, params),
        Method::PictureDelete => deletions::picture(context, params),
        Method::CardDelete => deletions::card(context, params),
        Method::OptionGet => options::get(context, params),
        Method::OptionSet => options::set(context, params),
        Method::Changes => {
            let page = changes::changes(context, &mut driver.subscription, params);
            // One for which there is no place to keep is served all the same.
            let _ = page.is_ok() && driver.keep_place();
            page
        }
        Method::Verify => return server_queries::verify(context, params),
        Method::Remote => return server_queries::remote(context, params),
        Method::Status => return maintenance::status(context),
        Method::Export => maintenance::export(context, params),
        Method::Quarantine => maintenance::quarantine(context, params),
    };
    done.map(Reply::Done)
}
