//! Whether a call was forwarded to another phone, as far as the peer reports it.

use crate::message::{Message, NameAddr, Uri, header};

/// Returns whether a response to an INVITE for `target` reports that the call is forwarded: by its status 181, by
/// Diversion (RFC 5806), or by History-Info (RFC 7044). An entry of History-Info counts if it names another user than
/// `target`, a mapped target (`mp`) or a reason: others only show the call's path to the called phone. A header that
/// cannot be read counts.
pub(super) fn reports_forwarding(response: &Message, target: &str) -> bool {
    if response.status() == Some(181) || response.has_header(header::DIVERSION) {
        return true;
    }
    if !response.has_header(header::HISTORY_INFO) {
        return false;
    }
    let called = Uri::parse(target);
    let is_called = |entry: &NameAddr| match (entry.uri(), &called) {
        (Ok(Uri::Sip(uri)), Ok(Uri::Sip(called))) => {
            let has_reason = uri.headers().is_some_and(|headers| headers.to_ascii_lowercase().contains("reason="));
            uri.has_same_user(called) && !has_reason && entry.params().get("mp").is_none()
        }
        (Ok(uri), Ok(Uri::Sip(called))) => {
            let number = |text: &str| text.split(';').next().unwrap_or_default().to_owned();
            let tel = uri.as_str().strip_prefix("tel:").map(number);
            tel.is_some() && tel == called.user().map(number) && entry.params().get("mp").is_none()
        }
        _ => false,
    };
    !response.history().is_ok_and(|entries| entries.iter().all(is_called))
}
