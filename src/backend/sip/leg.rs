//! One call at the trunk: its INVITE, what happens to it, and its end.

use std::sync::Arc;
use std::time::Duration;

use rsipstack::dialog::dialog::{DialogState, DialogStateReceiver, TerminatedReason, TransactionHandle};
use rsipstack::dialog::invitation::{InviteAsyncResult, InviteOption};
use rsipstack::dialog::invite_dialog::InviteDialog;
use rsipstack::platform::JoinHandle;
use rsipstack::sip::{Header, Method, Request, Response, StatusCode};

use super::digest::{Challenge, Credentials};
use super::link::Link;

/// The longest that is waited for the end of an INVITE after its CANCEL.
const CANCELLED_WITHIN: Duration = Duration::from_secs(5);

/// What happens to a call.
#[derive(Debug)]
pub(super) enum LegEvent {
    /// It is on its way: 100 or more. The phone rings from 101 on, as far as one can know.
    Provisional(u16),
    /// Somebody answered, with this session description.
    Answered(Vec<u8>),
    /// A key came by INFO.
    Key(char),
    /// The other side wants another session: to be answered by [`Leg::answer_offer`].
    Offer(Offer),
    /// It was refused.
    Refused(Box<Response>),
    /// It broke before an answer, for a reason of our own side.
    Broken(String),
    /// The other side hung up, for this reason if it gave one.
    HungUp(Option<String>),
}

/// A re-INVITE or an UPDATE.
#[derive(Debug)]
pub(super) struct Offer {
    /// None where it only keeps the session alive, or wants an offer of ours.
    pub(super) sdp: Option<Vec<u8>>,
    wants_offer: bool,
    session_expires: Option<String>,
    handle: TransactionHandle,
}

impl Offer {
    /// Must the answer have an offer of ours in it?
    pub(super) fn wants_offer(&self) -> bool {
        self.wants_offer
    }

    /// Accepts it with a session description, or refuses it: 488.
    pub(super) async fn answer(self, sdp: Result<Option<String>, ()>) {
        let (status, mut headers) = match sdp {
            Ok(_) => (StatusCode::OK, vec![Header::Supported("timer".into())]),
            Err(()) => (StatusCode::NotAcceptableHere, Vec::new()),
        };
        if let Some(expires) = &self.session_expires {
            // The other side keeps refreshing (RFC 4028, section 9).
            let expires =
                if expires.contains("refresher") { expires.clone() } else { format!("{expires};refresher=uac") };
            headers.push(Header::SessionExpires(expires.as_str().into()));
            headers.push(Header::Require("timer".into()));
        }
        let body = sdp.ok().flatten();
        if body.is_some() {
            headers.push(Header::ContentType("application/sdp".into()));
        }
        // Where the other side has gone meanwhile there is nobody to tell.
        let _ = self.handle.respond(status, Some(headers), body.map(String::into_bytes)).await;
    }
}

/// One call at the trunk. Dropped before it is answered, it is cancelled.
pub(super) struct Leg {
    link: Arc<Link>,
    dialog: InviteDialog,
    states: DialogStateReceiver,
    invite: Option<JoinHandle<InviteAsyncResult>>,
    answered: bool,
    over: bool,
    /// For a BYE that is challenged as the INVITE was.
    challenge: Option<(Challenge, Credentials)>,
    refresh: Option<tokio::time::Interval>,
    /// What was seen already, to be seen again.
    replay: Option<LegEvent>,
}

impl Leg {
    /// Sends the INVITE.
    pub(super) fn invite(
        link: &Arc<Link>,
        option: InviteOption,
        challenge: Option<(Challenge, Credentials)>,
    ) -> Result<Self, String> {
        let (sender, states) = link.dialogs.new_dialog_state_channel();
        let (dialog, invite) = link.dialogs.do_invite_async(option, sender).map_err(|error| error.to_string())?;
        let link = Arc::clone(link);
        Ok(Self {
            link,
            dialog,
            states,
            invite: Some(invite),
            answered: false,
            over: false,
            challenge,
            refresh: None,
            replay: None,
        })
    }

    /// The next thing that happens. May be dropped and called again.
    pub(super) async fn next(&mut self) -> LegEvent {
        if let Some(event) = self.replay.take() {
            return event;
        }
        loop {
            let ended = async {
                match &mut self.invite {
                    Some(invite) => invite.await,
                    None => std::future::pending().await,
                }
            };
            let refresh = async {
                match &mut self.refresh {
                    Some(refresh) => refresh.tick().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(state) = self.states.recv() => {
                    if let Some(event) = self.on_state(state).await {
                        return event;
                    }
                }
                ended = ended => {
                    self.invite = None;
                    match ended {
                        // Told of as a state.
                        Ok(Ok((_, Some(response)))) if response.status_code == StatusCode::OK => {}
                        Ok(Ok((_, Some(response)))) => {
                            self.over = true;
                            return LegEvent::Refused(Box::new(response));
                        }
                        other => {
                            self.over = true;
                            return LegEvent::Broken(match other {
                                Ok(Err(error)) => error.to_string(),
                                Ok(Ok(_)) => "there was no final answer".to_owned(),
                                Err(_) => "the SIP stack failed".to_owned(),
                            });
                        }
                    }
                }
                _ = refresh => {
                    // An UPDATE without a body keeps the session alive (RFC 4028, section 7.4). If it fails, the other
                    // side ends the call in time.
                    let _ = self.dialog.update(Some(vec![Header::Supported("timer".into())]), None).await;
                }
            }
        }
    }

    /// Lets the next caller see an event again.
    pub(super) fn replay(&mut self, event: LegEvent) {
        self.replay = Some(event);
    }

    async fn on_state(&mut self, state: DialogState) -> Option<LegEvent> {
        match state {
            DialogState::Trying(_) => Some(LegEvent::Provisional(100)),
            DialogState::Early(_, response) => Some(LegEvent::Provisional(response.status_code.code())),
            DialogState::Confirmed(_, response) if !self.answered => {
                self.answered = true;
                self.refresh = refresh_interval(&response)
                    .map(|every| tokio::time::interval_at(tokio::time::Instant::now() + every, every));
                Some(LegEvent::Answered(response.body))
            }
            DialogState::Updated(_, request, handle) => {
                let sdp = Some(request.body).filter(|body| !body.is_empty());
                let wants_offer = request.method == Method::Invite && sdp.is_none();
                let expires = request.headers.iter().find_map(|header| match header {
                    Header::SessionExpires(value) => Some(value.value().to_owned()),
                    _ => None,
                });
                Some(LegEvent::Offer(Offer { sdp, wants_offer, session_expires: expires, handle }))
            }
            DialogState::Info(_, request, handle) => {
                let key = if self.answered { info_key(&request) } else { None };
                let _ = handle.reply(StatusCode::OK).await;
                key.map(LegEvent::Key)
            }
            DialogState::Options(_, _, handle) => {
                let _ = handle.reply(StatusCode::OK).await;
                None
            }
            DialogState::Refer(_, _, handle)
            | DialogState::Message(_, _, handle)
            | DialogState::Notify(_, _, handle)
            | DialogState::Publish(_, _, handle) => {
                let _ = handle.reply(StatusCode::NotImplemented).await;
                None
            }
            // What else ends it is the INVITE's answer.
            DialogState::Terminated(_, TerminatedReason::UasBye) => {
                self.over = true;
                Some(LegEvent::HungUp(None))
            }
            _ => None,
        }
    }

    /// Was it answered, and has nobody hung up since?
    pub(super) fn is_up(&self) -> bool {
        self.answered && !self.over
    }

    /// Ends the call: BYE, or CANCEL and, where the answer crossed it, BYE.
    ///
    /// # Errors
    /// Why it may go on.
    pub(super) async fn hang_up(&mut self) -> Result<(), String> {
        if std::mem::replace(&mut self.over, true) {
            return Ok(());
        }
        if self.dialog.state().is_confirmed() {
            let uri = self.dialog.initial_request().uri.to_string();
            let authorization = self
                .challenge
                .as_mut()
                .and_then(|(challenge, credentials)| challenge.answer(credentials, "BYE", &uri, b""));
            return self
                .dialog
                .bye_with_headers(authorization.map(|header| vec![header]))
                .await
                .map_err(|e| e.to_string());
        }
        self.dialog.cancel().await.map_err(|error| error.to_string())?;
        if let Some(invite) = self.invite.take()
            && tokio::time::timeout(CANCELLED_WITHIN, invite).await.is_err()
        {
            return Err("the trunk did not confirm the CANCEL".to_owned());
        }
        Ok(())
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        // The stack cancels an INVITE whose task is gone, and ends a call that is answered all the same.
        if let Some(invite) = self.invite.take() {
            invite.abort();
        }
        self.link.dialogs.remove_dialog(&self.dialog.id());
    }
}

/// How often we must keep the session alive, where the other side made that our duty (RFC 4028, section 7.2).
fn refresh_interval(response: &Response) -> Option<Duration> {
    let value = response.headers.iter().find_map(|header| match header {
        Header::SessionExpires(value) => Some(value.value().to_ascii_lowercase()),
        _ => None,
    })?;
    let mut parts = value.split(';').map(str::trim);
    let seconds: u64 = parts.next()?.parse().ok()?;
    parts.any(|part| part.replace(' ', "") == "refresher=uac").then(|| Duration::from_secs((seconds / 2).max(1)))
}

/// The key in an INFO: `application/dtmf-relay` (`Signal=5`) or `application/dtmf` (`5`).
fn info_key(request: &Request) -> Option<char> {
    let body = std::str::from_utf8(&request.body).ok()?;
    let content_type = request.headers.iter().find_map(|header| match header {
        Header::ContentType(value) => Some(value.value().to_ascii_lowercase()),
        _ => None,
    })?;
    let key = match content_type.split(';').next()?.trim() {
        "application/dtmf-relay" => body.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
        })?,
        "application/dtmf" => body.trim(),
        _ => return None,
    };
    match key {
        "10" => Some('*'),
        "11" => Some('#'),
        _ => {
            let mut keys = key.chars();
            keys.next().filter(|key| keys.next().is_none() && matches!(key, '0'..='9' | '*' | '#' | 'A'..='D'))
        }
    }
}
