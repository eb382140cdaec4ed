//! The task of one call: connects it with its telephone, its sockets and the clock.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use phonegate_media::rtp::{PACKET_MILLISECONDS, PACKET_SAMPLES, RECEIVE_BUFFER};
use phonegate_media::sdp::RemoteMedia;
use phonegate_sip::message::Message;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::audio::{Receiver, Sender};
use super::call::{Call, Invitation, Output};
use super::network::{Network, PORT_ATTEMPTS};
use super::requests::{self, Peer};
use crate::exchange::{Action, CallSteps, Exchange, IncomingCall, RingError};
use crate::recognition::{Recognizer, Recordings, sentence};

/// The audio that is played at once, in samples: 100 ms.
const PLAYED: usize = 5 * PACKET_SAMPLES as usize;

/// Why a call is refused if the ports of the computer are exhausted.
const NO_PORTS: &str = "The computer has no free port for the audio, so the simulator refused the call.";

/// The reason phrase of that refusal.
const NO_PORTS_PHRASE: &str = "The computer has no free port for the audio";

/// The reason phrase if the telephone would be one too many.
const NO_MORE_TELEPHONES_PHRASE: &str = "The simulator already has 100 telephones, the maximum";

/// A call that begins.
pub(super) struct NewCall {
    pub(super) invitation: Invitation,
    /// The address of SIP.
    pub(super) sip: SocketAddr,
    /// Its further messages.
    pub(super) messages: mpsc::Receiver<(Message, Peer)>,
    /// Closed when the call must end.
    pub(super) ending: watch::Receiver<()>,
}

/// Runs a call until nothing more of it is expected. If it must end, only until the other side has acknowledged that.
pub(super) async fn run(new: NewCall, network: Network, exchange: Exchange, recordings: Arc<Recordings>) {
    let NewCall { invitation, sip, mut messages, mut ending } = new;
    // Messages are shown also after the end, and those of a call that finds its telephone busy.
    let (mut telephone, steps) = match exchange.ring("sip", &invitation.number, &invitation.caller) {
        Ok(telephone) => {
            let steps = telephone.steps();
            (Some(telephone), steps)
        }
        Err(RingError::Busy(steps)) => (None, steps),
        Err(RingError::TooManyTelephones) => return refuse(&invitation, NO_MORE_TELEPHONES_PHRASE, &network).await,
    };
    show_received(&steps, &invitation.invite);
    let mut audio = match &telephone {
        Some(_) => bind_audio(sip.ip()).await.ok(),
        None => None,
    };
    let rtp = match (&audio, telephone.is_some()) {
        (Some(Audio { address, .. }), _) => *address,
        // It is declined, so its address for audio is not used.
        (None, false) => SocketAddr::new(sip.ip(), 0),
        (None, true) => {
            exchange.report_problem(&invitation.number, NO_PORTS);
            if let Some(telephone) = telephone.take() {
                telephone.end(NO_PORTS);
            }
            return refuse(&invitation, NO_PORTS_PHRASE, &network).await;
        }
    };
    let began = Instant::now();
    let random = fastrand::u64(..);
    let mut call = Call::new(Duration::ZERO, invitation, sip, rtp, random);
    match &telephone {
        Some(_) => call.ring(Duration::ZERO),
        None => call.decline(Duration::ZERO),
    }
    let mut sound = Sound::new(random, recordings);
    let mut ticks = tokio::time::interval(Duration::from_millis(PACKET_MILLISECONDS.into()));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut packet = [0; RECEIVE_BUFFER];
    let mut is_ending = false;
    loop {
        while let Some(output) = call.poll_output() {
            match output {
                Output::Send(to, bytes) => {
                    steps.sent(&String::from_utf8_lossy(&bytes));
                    network.send(to, bytes).await;
                }
                Output::Media(remote) => sound.remote = Some(remote),
                Output::Ended(result) => {
                    sound.remote = None;
                    audio = None;
                    if let Some(telephone) = telephone.take() {
                        telephone.end(result);
                    }
                }
            }
        }
        if call.is_finished(began.elapsed()) || is_ending && call.is_acknowledged() {
            return;
        }
        tokio::select! {
            _ = ending.changed(), if !is_ending => {
                is_ending = true;
                call.stop(began.elapsed(), "The simulator has ended.");
            }
            message = messages.recv() => {
                let Some((message, peer)) = message else { return };
                show_received(&steps, &message);
                call.receive(began.elapsed(), &message, peer);
            }
            action = next_action(&mut telephone) => match action {
                Action::PickUp => call.pick_up(began.elapsed()),
                Action::Decline => call.decline(began.elapsed()),
                Action::HangUp => call.hang_up(began.elapsed()),
                Action::Press(key) => sound.press(key, telephone.as_ref()),
            },
            _ = ticks.tick(), if sound.remote.is_some() => {
                if let (Some((packet, to)), Some(audio)) = (sound.next_packet(), &audio) {
                    let _ = audio.rtp.send_to(&packet, to).await;
                }
            }
            received = receive(audio.as_ref(), &mut packet), if sound.remote.is_some() => {
                if let (Ok((length, from)), Some(telephone)) = (received, &telephone) {
                    sound.receive(packet.get(..length).unwrap_or_default(), from, telephone);
                }
            }
            () = tokio::time::sleep_until(began + call.next_timeout()) => call.handle_timeout(began.elapsed()),
        }
    }
}

/// Refuses a call for which no telephone rings, with a reason phrase.
async fn refuse(invitation: &Invitation, phrase: &str, network: &Network) {
    let refusal = requests::refusal(&invitation.invite, invitation.peer, (503, phrase), "simulator");
    if let Some((to, bytes)) = requests::finish(refusal, invitation.peer) {
        network.send(to, bytes).await;
    }
}

/// The sockets of a call's audio.
struct Audio {
    rtp: UdpSocket,
    /// The port after that of `rtp`, to which PhoneGate sends RTCP. That is not read.
    _rtcp: UdpSocket,
    /// The address of `rtp`.
    address: SocketAddr,
}

async fn bind_audio(ip: IpAddr) -> io::Result<Audio> {
    let mut attempt = 0;
    loop {
        let rtp = UdpSocket::bind((ip, 0)).await?;
        let address = rtp.local_addr()?;
        match UdpSocket::bind((ip, address.port().wrapping_add(1))).await {
            Ok(rtcp) => return Ok(Audio { rtp, _rtcp: rtcp, address }),
            Err(error) if attempt == PORT_ATTEMPTS => return Err(error),
            Err(_) => attempt += 1,
        }
    }
}

async fn receive(audio: Option<&Audio>, packet: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match audio {
        Some(audio) => audio.rtp.recv_from(packet).await,
        None => std::future::pending().await,
    }
}

fn show_received(steps: &CallSteps, message: &Message) {
    steps.received(&String::from_utf8_lossy(message.as_bytes()));
}

async fn next_action(telephone: &mut Option<IncomingCall>) -> Action {
    match telephone {
        Some(telephone) => telephone.next().await,
        None => std::future::pending().await,
    }
}

/// The audio of a call.
struct Sound {
    /// Where audio goes. `None` before the answer and after the end.
    remote: Option<RemoteMedia>,
    sender: Sender,
    receiver: Receiver,
    recognizer: Recognizer,
    /// Audio that was not played.
    unplayed: Vec<u8>,
}

impl Sound {
    fn new(random: u64, recordings: Arc<Recordings>) -> Self {
        Self {
            remote: None,
            sender: Sender::new(random),
            receiver: Receiver::default(),
            recognizer: Recognizer::new(recordings),
            unplayed: Vec::new(),
        }
    }

    fn press(&mut self, key: char, telephone: Option<&IncomingCall>) {
        let has_events = self.remote.as_ref().is_some_and(|remote| remote.event_type.is_some());
        if (!has_events || !self.sender.press(key))
            && let Some(telephone) = telephone
        {
            telephone.event("The key was not sent: PhoneGate accepts no telephone events, or too many keys wait.");
        }
    }

    fn next_packet(&mut self) -> Option<(Vec<u8>, SocketAddr)> {
        let remote = self.remote.as_ref()?;
        Some((self.sender.next_packet(remote)?, remote.rtp))
    }

    fn receive(&mut self, packet: &[u8], from: SocketAddr, telephone: &IncomingCall) {
        let Some(remote) = &self.remote else { return };
        let audio = self.receiver.receive(packet, from, remote);
        if let Some(heard) = self.recognizer.hear(&audio) {
            telephone.event(&sentence(&heard));
            telephone.understood(heard);
        }
        self.unplayed.extend(audio);
        while let Some((played, rest)) = self.unplayed.split_at_checked(PLAYED) {
            telephone.play(BASE64_STANDARD.encode(played));
            self.unplayed = rest.to_vec();
        }
    }
}
