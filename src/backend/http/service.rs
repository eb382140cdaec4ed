//! A web service as the configuration declares it: checked, with its secrets, ready to be used.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::super::BackendContext;
use super::api::Api;
use super::auth::Auth;
use super::config::{CheckMethodConfig, HttpConfig, MethodConfig, PollConfig, RequestConfig, StartConfig};
use super::header;
use super::outcome::Rules;
use super::redaction::HiddenSecrets;
use super::request::{Declared, RequestTemplate};
use super::template::{Placeholder, Scope};
use crate::call::{Call, Country};
use crate::config::{BackendSettings, ConfigError, PromptsConfig};

/// Maximum length of a language tag (RFC 5646, section 4.4.1).
const MAX_LANGUAGE: usize = 35;

/// A web service.
pub(super) struct Service {
    pub(super) api: Api,
    pub(super) rules: Rules,
    pub(super) secrets: BTreeMap<String, SecretString>,
    /// All secrets, to hide them in texts of the service.
    pub(super) redaction: HiddenSecrets,
    pub(super) start: RequestTemplate,
    pub(super) poll: RequestTemplate,
    pub(super) poll_every: Duration,
    /// Whether the service returns the result of a call only once.
    pub(super) poll_once: bool,
    pub(super) hang_up: Option<RequestTemplate>,
    /// Whether `hang_up` needs no id of the service.
    pub(super) hangs_up_by_call_id: bool,
    /// The request that checks the service, and the status of its reply.
    pub(super) check: Option<(RequestTemplate, u16)>,
    /// Whether `start` uses `{extension}`.
    pub(super) dials_extensions: bool,
    prompts: PromptsConfig,
}

impl Service {
    /// # Errors
    /// A setting cannot work, or a secret cannot be read.
    pub(super) fn new(config: &HttpConfig, context: &BackendContext<'_>) -> Result<Self, ConfigError> {
        let path = context.path.as_str();
        let at = |key: &str| format!("{path}.{key}");
        let (start, poll) = required(path, config)?;
        let mut secrets = BTreeMap::new();
        for (name, secret) in &config.secrets {
            secrets.insert(name.clone(), context.resolve(&config.secret_path(name), secret)?);
        }
        let mut hidden: Vec<_> = secrets.values().cloned().collect();
        for (key, secret) in BackendSettings::secrets(config) {
            hidden.extend(secret.map(|secret| context.resolve(key, secret)).transpose()?);
        }
        let rules = Rules::new(path, config, poll)?;
        let auth = Auth::new(config, context)?;
        hidden.extend(auth.credentials());
        let scope =
            Scope { starts_call: false, has_call: true, has_reference: rules.has_reference(), secrets: &secrets };
        let parse = |declared: &Declared<'_>, scope| RequestTemplate::parse(declared, scope, &auth.headers());

        let StartConfig { method, url, headers, form, json, error: _ } = start;
        let start = parse(
            &Declared::new(&at("start"), url, headers).with_body(*method, form, json),
            Scope { starts_call: true, has_reference: false, ..scope },
        )?;
        if !start.placeholders().contains(&&Placeholder::CallId) {
            // A service that replays the reply to an equal request would report the approval of an earlier call. A reply
            // to `poll` that names the id proves nothing: the service may know it from that request only.
            let problem = "never uses {call_id}, so the starts of two calls may be equal, and a service may answer both \
                           with the same call; use it in a field of the body or a header that the service stores, \
                           whatever the method is";
            return Err(context.invalid("start", problem));
        }
        check_spoken(path, &start, config, context)?;
        let poll_request = parse(&Declared::new(&at("poll"), &poll.url, &poll.headers), scope)?;
        let hang_up = config.hang_up.as_ref().map(|RequestConfig { method, url, headers, form, json }| {
            parse(&Declared::new(&at("hang_up"), url, headers).with_body(*method, form, json), scope)
        });
        let hang_up = hang_up.transpose()?;
        let check = config.check.as_ref().map(|check| {
            let method = match check.method {
                CheckMethodConfig::Get => MethodConfig::Get,
                CheckMethodConfig::Head => MethodConfig::Head,
            };
            let request = parse(
                &Declared { method, ..Declared::new(&at("check"), &check.url, &check.headers) },
                Scope { has_call: false, has_reference: false, ..scope },
            )?;
            Ok::<_, ConfigError>((request, u16::try_from(check.status.get()).unwrap_or(200)))
        });
        let check = check.transpose()?;
        // The credentials and the codes of calls go to one server only.
        let others = [
            ("poll.url", Some(&poll_request)),
            ("hang_up.url", hang_up.as_ref()),
            ("check.url", check.as_ref().map(|(check, _)| check)),
        ];
        for (key, request) in others.into_iter().filter_map(|(key, request)| Some((key, request?))) {
            if request.origin().origin() != start.origin().origin() {
                return Err(context.invalid(key, "must have the scheme, host and port of `start.url`"));
            }
        }
        let requests = [Some(&start), Some(&poll_request), hang_up.as_ref(), check.as_ref().map(|(check, _)| check)];
        for name in requests.into_iter().flatten().flat_map(RequestTemplate::secrets_in_headers) {
            let secret = secrets.get(name).map(ExposeSecret::expose_secret).unwrap_or_default();
            header::configured_value(&at(&config.secret_path(name)), secret)?;
        }
        let api = Api::new(config, auth, start.origin(), context)?;
        let uses = |id: &Placeholder| hang_up.as_ref().is_some_and(|request| request.placeholders().contains(&id));
        let hangs_up_by_call_id = uses(&Placeholder::CallId) && !uses(&Placeholder::Reference);
        let dials_extensions = start.placeholders().contains(&&Placeholder::Extension);
        Ok(Self {
            api,
            rules,
            start,
            poll: poll_request,
            poll_every: poll.every_ms.milliseconds(),
            poll_once: poll.once,
            hang_up,
            hangs_up_by_call_id,
            check,
            dials_extensions,
            prompts: context.prompts.clone(),
            secrets,
            redaction: HiddenSecrets::new(hidden),
        })
    }

    /// Returns the language of a call: the one that the host requested, or else that of the number's country, or else the
    /// default.
    pub(super) fn language<'a>(&'a self, call: &'a Call) -> &'a str {
        let is_tag = |tag: &&str| {
            (2..=MAX_LANGUAGE).contains(&tag.len())
                && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let of_country =
            || self.prompts.by_country.get(call.number.country().map(Country::as_str)?).map(String::as_str);
        call.language.as_deref().filter(is_tag).or_else(of_country).unwrap_or(&self.prompts.language)
    }
}

/// Returns the sections that every service needs.
fn required<'a>(path: &str, config: &'a HttpConfig) -> Result<(&'a StartConfig, &'a PollConfig), ConfigError> {
    let missing = |key: &str, what: &str| {
        ConfigError::invalid(format!("{path}.{key}"), format_args!("is missing: {what}; or name a `preset`"))
    };
    let start = config.start.as_ref().ok_or_else(|| missing("start", "the request that starts a call"))?;
    let poll = config.poll.as_ref().ok_or_else(|| missing("poll", "the request that asks for the state of a call"))?;
    Ok((start, poll))
}

/// Checks that the user hears a code if PhoneGate expects one, and that each code can be told from the others.
fn check_spoken(
    path: &str,
    start: &RequestTemplate,
    config: &HttpConfig,
    context: &BackendContext<'_>,
) -> Result<(), ConfigError> {
    let spoken: Vec<_> = start.placeholders().into_iter().filter_map(Placeholder::spoken_attempt).collect();
    let (last, attempts) = (spoken.iter().max().copied(), context.policy.attempts());
    let invalid = |problem: String| Err(ConfigError::invalid(format!("{path}.start"), problem));
    let Some(pressed) = &config.pressed else { return Ok(()) };
    match last {
        _ if context.policy.method().has_code() && !spoken.contains(&1) => {
            let method = context.policy.method().name();
            invalid(format!("never says the code, which `{method}` expects; use {{spoken_1}}"))
        }
        Some(last) if last > attempts => {
            invalid(format!("uses {{spoken_{last}}}, but `prompts.attempts` is {attempts}"))
        }
        Some(last) if last > 1 && pressed.attempt.is_none() => {
            invalid(format!("uses {{spoken_{last}}}, so `pressed.attempt` must say which entry a reply is about"))
        }
        _ => Ok(()),
    }
}
