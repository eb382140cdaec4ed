//! The sections `use` and `routes`: which backends are asked for a call, and in which order.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{BackendConfig, Config, ConfigError, country};
use crate::call::Country;

/// A route: the backends for the numbers of some countries.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// The countries of the numbers, as ISO 3166-1 alpha-2: `DE`. Each must be allowed by `numbers`, and be in no other
    /// route.
    #[schemars(length(min = 1))]
    pub countries: Vec<String>,
    /// The backends by name, in the order in which they are tried, in place of those in the file's own `use`.
    #[serde(rename = "use")]
    #[schemars(length(min = 1))]
    pub backend_order: Vec<String>,
    /// The number that the callees see, in E.164, in place of that of the backend's settings. Each backend of the route must
    /// be of type `sip` or `twilio_studio`. Null or absent: that of the backend.
    #[serde(default)]
    pub caller_id: Option<String>,
}

impl Config {
    /// Returns the names of the backends for the numbers of a country, or of none, in the order in which they are tried.
    pub fn backends_for(&self, country: Option<&Country>) -> &[String] {
        let is_of =
            |route: &&RouteConfig| country.is_some_and(|of| route.countries.iter().any(|code| code == of.as_str()));
        self.routes.iter().find(is_of).map_or(&self.backend_order, |route| &route.backend_order)
    }

    /// Returns the paths of the lists that have a backend, such as `use, routes[0].use`.
    pub fn lists_with(&self, backend: &str) -> String {
        let lists = self.lists().filter(|(_, order)| order.iter().any(|name| name == backend));
        lists.map(|(path, _)| path).collect::<Vec<_>>().join(", ")
    }

    /// The lists of backends, each with its path.
    fn lists(&self) -> impl Iterator<Item = (String, &Vec<String>)> {
        let of_routes = self.routes.iter().enumerate();
        let of_routes = of_routes.map(|(index, route)| (format!("routes[{index}].use"), &route.backend_order));
        std::iter::once(("use".to_owned(), &self.backend_order)).chain(of_routes)
    }

    /// The backends in use, each with its name: those of `use` in their order, then those that only routes name.
    pub fn in_use(&self) -> impl Iterator<Item = (&String, &BackendConfig)> {
        let mut seen = BTreeSet::new();
        let names = self.lists().flat_map(|(_, order)| order).filter(move |name| seen.insert(*name));
        names.filter_map(|name| self.backends.get_key_value(name))
    }
}

/// Checks `use` and `routes`.
pub(super) fn check_routes(config: &Config) -> Result<(), ConfigError> {
    let (mut for_tests, mut real) = (None, None);
    for (path, order) in config.lists() {
        check_order(config, &path, order)?;
        for name in order {
            match config.backends.get(name).and_then(BackendConfig::test_reason) {
                Some(reason) => for_tests = Some((name, reason)),
                None => real = Some(name),
            }
        }
        if let (Some((test, reason)), Some(real)) = (for_tests, real) {
            let clause = reason.clause();
            let mut problem = match order.contains(test) && order.contains(real) {
                true => format!("has `{test}`, which {clause}, and also the real backend `{real}`"),
                false => format!("`{test}`, which {clause}, and the real backend `{real}` are both in use"),
            };
            if let Some(remedy) = reason.remedy() {
                problem = format!("{problem}; {remedy}");
            }
            return Err(ConfigError::invalid(path, problem));
        }
    }
    check_countries(config)?;
    config.routes.iter().enumerate().try_for_each(|(index, route)| {
        let path = format!("routes[{index}].caller_id");
        route.caller_id.as_deref().map_or(Ok(()), |caller_id| check_caller_id(config, &path, caller_id, route))
    })
}

/// Checks the list of backends at `path`.
fn check_order(config: &Config, path: &str, order: &[String]) -> Result<(), ConfigError> {
    if order.is_empty() {
        return Err(ConfigError::invalid(path, "is empty; name at least one of `backends`"));
    }
    let mut seen = BTreeSet::new();
    for (index, name) in order.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(backend) = config.backends.get(name) else {
            return Err(ConfigError::invalid(path, format_args!("there is no backend `{name}` in `backends`")));
        };
        if !seen.insert(name) {
            return Err(ConfigError::invalid(path, format_args!("names `{name}` a second time")));
        }
        if let Some(reason) = backend.test_reason().filter(|_| !config.allow_test_backends) {
            let (kind, clause, advice) = (backend.type_name(), reason.clause(), reason.advice());
            return Err(ConfigError::invalid(path, format_args!("`{name}` (type {kind}) {clause}; {advice}")));
        }
    }
    Ok(())
}

/// Checks that each country of a route may be called, and is in no other route.
fn check_countries(config: &Config) -> Result<(), ConfigError> {
    if config.routes.is_empty() {
        return Ok(());
    }
    let allowed = config.numbers.allowed_countries()?;
    let mut seen = BTreeSet::new();
    for (index, route) in config.routes.iter().enumerate() {
        let path = format!("routes[{index}].countries");
        if route.countries.is_empty() {
            return Err(ConfigError::invalid(path, "is empty; name at least one country"));
        }
        for (index, code) in route.countries.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if !allowed.contains(&country(&path, code)?) {
                let problem = format_args!(
                    "`{code}` is not in `numbers.allowed_countries`, so no call takes this route; add it there, or remove \
                     it here"
                );
                return Err(ConfigError::invalid(path, problem));
            }
            if !seen.insert(code) {
                return Err(ConfigError::invalid(path, format_args!("names `{code}` a second time")));
            }
        }
    }
    Ok(())
}

/// Checks that each backend of a route can show its caller id.
fn check_caller_id(config: &Config, path: &str, caller_id: &str, route: &RouteConfig) -> Result<(), ConfigError> {
    if !is_e164(caller_id) {
        return Err(ConfigError::invalid(path, "must be a number in E.164, such as +14255550100"));
    }
    for name in &route.backend_order {
        if let Some(backend) = config.backends.get(name)
            && !backend.facts().can_change_caller_id()
        {
            let problem = format_args!(
                "`{name}` is of type {}, which shows no other caller id; remove `caller_id`, or `{name}` from this route",
                backend.type_name()
            );
            return Err(ConfigError::invalid(path, problem));
        }
    }
    Ok(())
}

/// Returns whether a text is a number in E.164: `+` and 7 to 15 digits.
pub(crate) fn is_e164(number: &str) -> bool {
    let digits = number.strip_prefix('+').unwrap_or_default();
    (7..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}
