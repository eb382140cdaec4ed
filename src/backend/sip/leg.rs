//! One call at the trunk: its INVITE, what happens to it, and its end.

use std::sync::Arc;

use rsipstack::dialog::dialog::{DialogState, DialogStateReceiver, TerminatedReason, TransactionHandle};
use rsipstack::dialog::invitation::{InviteAsyncResult, InviteOption};
use rsipstack::platform::JoinHandle;
use rsipstack::sip::message::HeadersExt;
use rsipstack::sip::{Header, Method, Request, Response, StatusCode, StatusCodeKind};
use tokio::time::{Instant, Interval, interval_at};

use super::digest::{Challenges, Credentials};
use super::link::Link;
use super::offer::{Offer, Session};
use super::within::Within;

/// What happens to a call.
#[derive(Debug)]
pub(super) enum LegEvent {
    /// It is on its way: 100 or more. The phone rings from 101 on, as far as one can know.
    Provisional(u16),
    /// Somebody answered, with this session description.
    Answered(Vec<u8>),
    /// An INFO request came: to be answered by [`Info::answer`].
    Info(Info),
    /// The other side wants another session: to be answered by [`Offer::answer`].
    Offer(Offer),
    /// It was refused.
    Refused(Box<Response>),
    /// It broke before an answer, for a reason of our own side.
    Broken(String),
    /// The other side hung up, for this reason if it gave one.
    HungUp(Option<String>),
}

/// An INFO request.
#[derive(Debug)]
pub(super) struct Info {
    /// Empty if it has none.
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
    handle: TransactionHandle,
}

impl Info {
    fn new(request: Request, handle: TransactionHandle) -> Self {
        let content_type = request.headers.iter().find_map(|header| match header {
            Header::ContentType(value) => Some(value.value().to_owned()),
            _ => None,
        });
        Self { content_type: content_type.unwrap_or_default(), body: request.body, handle }
    }

    /// Accepts it, or says that its body is not supported: 415.
    pub(super) async fn answer(self, is_accepted: bool) {
        let status = if is_accepted { StatusCode::OK } else { StatusCode::UnsupportedMediaType };
        let _ = self.handle.reply(status).await;
    }
}

/// One call at the trunk. Dropped, it is ended.
pub(super) struct Leg {
    within: Arc<Within>,
    states: DialogStateReceiver,
    invite: Option<JoinHandle<InviteAsyncResult>>,
    answered: bool,
    over: bool,
    offer: Vec<u8>,
    /// The last session description before the answer, with its To tag.
    early: Option<(Option<String>, Vec<u8>)>,
    refresh: Option<Interval>,
    refreshing: Option<tokio::task::JoinHandle<Result<Response, String>>>,
    /// The method that keeps the session alive: UPDATE, unless the other side cannot.
    refresh_by: Method,
    /// What was seen already, to be seen again.
    replay: Option<LegEvent>,
}

impl Leg {
    /// Sends the INVITE.
    pub(super) fn invite(
        link: &Arc<Link>,
        option: InviteOption,
        challenges: Challenges,
        credentials: Option<Credentials>,
    ) -> Result<Self, String> {
        let (sender, states) = link.dialogs.new_dialog_state_channel();
        let offer = option.offer.clone().unwrap_or_default();
        let (dialog, invite) = link.dialogs.do_invite_async(option, sender).map_err(|error| error.to_string())?;
        Ok(Self {
            within: Arc::new(Within::new(link, dialog, challenges, credentials)),
            states,
            invite: Some(invite),
            answered: false,
            over: false,
            offer,
            early: None,
            refresh: None,
            refreshing: None,
            refresh_by: Method::Update,
            replay: None,
        })
    }

    /// The next thing that happens. May be dropped and called again.
    pub(super) async fn next(&mut self) -> LegEvent {
        if let Some(event) = self.replay.take() {
            return event;
        }
        loop {
            tokio::select! {
                biased;
                Some(state) = self.states.recv() => {
                    if let Some(event) = self.on_state(state).await {
                        return event;
                    }
                }
                ended = finished(&mut self.invite) => {
                    self.invite = None;
                    if let Some(event) = self.on_invite_ended(ended) {
                        return event;
                    }
                }
                refreshed = finished(&mut self.refreshing) => {
                    self.refreshing = None;
                    if let Some(event) = self.on_refreshed(refreshed) {
                        return event;
                    }
                }
                () = tick(&mut self.refresh) => self.keep_alive(),
                () = self.within.lost(), if !self.answered && !self.over => {
                    self.over = true;
                    if let Some(invite) = self.invite.take() {
                        invite.abort();
                    }
                    return LegEvent::Broken("the connection was lost".to_owned());
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
            DialogState::Early(_, response) if !self.answered => {
                let code = response.status_code.code();
                if !response.body.is_empty() {
                    self.early = Some((to_tag(&response), response.body));
                }
                Some(LegEvent::Provisional(code))
            }
            DialogState::Confirmed(_, response) if !self.answered => {
                self.answered = true;
                if response
                    .header_value("Allow")
                    .is_some_and(|allowed| !allowed.to_ascii_uppercase().contains("UPDATE"))
                {
                    self.refresh_by = Method::Invite;
                }
                self.agree_on(Session::of_answer(&response));
                let tag = to_tag(&response);
                // A description that came reliably before the answer need not come again with it (RFC 3262, section 5).
                let early = self.early.take().filter(|(early, _)| *early == tag).map(|(_, sdp)| sdp);
                Some(LegEvent::Answered(
                    Some(response.body).filter(|sdp| !sdp.is_empty()).or(early).unwrap_or_default(),
                ))
            }
            DialogState::Updated(_, request, handle) => {
                let offer = Offer::new(request, handle);
                match offer.session() {
                    Some(session) if session.is_too_short() => {
                        offer.refuse_as_too_short().await;
                        return None;
                    }
                    Some(session) => self.agree_on(Some(session)),
                    None => {}
                }
                Some(LegEvent::Offer(offer))
            }
            DialogState::Info(_, request, handle) => Some(LegEvent::Info(Info::new(request, handle))),
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
            DialogState::Terminated(_, TerminatedReason::UasBye) => {
                self.over = true;
                Some(LegEvent::HungUp(self.within.reason_of_bye()))
            }
            DialogState::Terminated(_, TerminatedReason::Timeout) if self.answered => {
                self.over = true;
                Some(LegEvent::HungUp(Some("it did not acknowledge our answer".to_owned())))
            }
            // What else ends it is the INVITE's answer.
            _ => None,
        }
    }

    fn on_invite_ended(&mut self, ended: Result<InviteAsyncResult, impl std::fmt::Display>) -> Option<LegEvent> {
        match ended {
            // Told of as a state, if the stack took it for an answer.
            Ok(Ok((_, Some(response)))) if response.status_code.kind() == StatusCodeKind::Successful => {
                if self.answered || self.within.dialog.state().is_confirmed() {
                    return None;
                }
                let within = Arc::clone(&self.within);
                tokio::spawn(async move { within.bye().await });
                self.over = true;
                Some(LegEvent::Broken("the answer cannot be used".to_owned()))
            }
            Ok(Ok((_, Some(response)))) => {
                self.over = true;
                Some(LegEvent::Refused(Box::new(response)))
            }
            other => {
                self.over = true;
                Some(LegEvent::Broken(match other {
                    Ok(Err(error)) => error.to_string(),
                    Ok(Ok(_)) => "there was no final answer".to_owned(),
                    Err(_) => "the SIP stack failed".to_owned(),
                }))
            }
        }
    }

    /// Refreshes the session from now on, if that is our duty.
    fn agree_on(&mut self, session: Option<Session>) {
        let ours = session.filter(|session| session.ours_to_refresh);
        self.refresh = ours.map(Session::refresh_every).map(|every| interval_at(Instant::now() + every, every));
    }

    /// Keeps the session alive: UPDATE without a body, or a re-INVITE with the offer as it was (RFC 4028, section 7.4).
    fn keep_alive(&mut self) {
        let (within, method, mut headers) =
            (Arc::clone(&self.within), self.refresh_by, vec![Header::Supported("timer".into())]);
        let body = if method == Method::Invite { self.offer.clone() } else { Vec::new() };
        if !body.is_empty() {
            headers.push(Header::ContentType("application/sdp".into()));
        }
        self.refreshing = Some(tokio::spawn(async move { within.request(method, &headers, &body).await }));
    }

    fn on_refreshed(
        &mut self,
        refreshed: Result<Result<Response, String>, impl std::fmt::Display>,
    ) -> Option<LegEvent> {
        // Without an answer the next refresh may have one, and else the other side ends the call in time.
        let Ok(Ok(response)) = refreshed else { return None };
        match response.status_code.code() {
            481 => {
                self.over = true;
                Some(LegEvent::HungUp(Some("it no longer knows the call".to_owned())))
            }
            405 | 501 if self.refresh_by == Method::Update => {
                self.refresh_by = Method::Invite;
                self.keep_alive();
                None
            }
            200..=299 => {
                if let Some(session) = Session::of_answer(&response) {
                    self.agree_on(Some(session));
                }
                None
            }
            _ => None,
        }
    }

    /// Was it answered, and has nobody hung up since?
    pub(super) fn is_up(&self) -> bool {
        self.answered && !self.over
    }

    /// Ends the call: BYE, or CANCEL and, where the answer crosses it, BYE. It is ended to the end even if the caller
    /// waits no longer.
    ///
    /// # Errors
    /// Why it may go on.
    pub(super) async fn hang_up(&mut self) -> Result<(), String> {
        match self.end() {
            Some(ended) => ended.await.unwrap_or_else(|error| Err(error.to_string())),
            None => Ok(()),
        }
    }

    fn end(&mut self) -> Option<tokio::task::JoinHandle<Result<(), String>>> {
        if std::mem::replace(&mut self.over, true) {
            return None;
        }
        // Without a runtime the process's end is near, and its sockets are closed.
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        Some(runtime.spawn(Arc::clone(&self.within).end(self.invite.take())))
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        self.end();
        if let Some(refreshing) = self.refreshing.take() {
            refreshing.abort();
        }
    }
}

/// What a task of ours has come to, if there is one.
async fn finished<T: Future + Unpin>(task: &mut Option<T>) -> T::Output {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

fn to_tag(response: &Response) -> Option<String> {
    response.to_header().ok()?.tag().ok()?.map(|tag| tag.value().to_owned())
}
