//! Requests as the configuration declares them: parsed when it is loaded, and written for each call.

use std::collections::BTreeMap;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::config::{JsonBody, MethodConfig, Text};
use super::header;
use super::template::{Placeholder, RenderError, Scope, Template, Values, percent_encode};
use crate::config::{ConfigError, provider_url};

/// A request with templates.
pub(super) struct RequestTemplate {
    method: Method,
    url: UrlTemplate,
    headers: Vec<(HeaderName, Template)>,
    body: Body,
}

enum Body {
    None,
    Form(Vec<(String, Template)>),
    Json(JsonTemplate),
}

/// What a request is made of in the configuration.
pub(super) struct Declared<'a> {
    /// The path of its section.
    pub(super) path: &'a str,
    pub(super) method: MethodConfig,
    pub(super) url: &'a Text,
    pub(super) headers: &'a BTreeMap<String, Text>,
    pub(super) form: Option<&'a BTreeMap<String, Text>>,
    pub(super) json: Option<&'a Value>,
}

impl<'a> Declared<'a> {
    /// A GET without a body.
    pub(super) fn new(path: &'a str, url: &'a Text, headers: &'a BTreeMap<String, Text>) -> Self {
        Self { path, method: MethodConfig::Get, url, headers, form: None, json: None }
    }

    pub(super) fn with_body(
        self,
        method: MethodConfig,
        form: &'a Option<BTreeMap<String, Text>>,
        json: &'a Option<JsonBody>,
    ) -> Self {
        Self { method, form: form.as_ref(), json: json.as_ref().map(|json| &json.0), ..self }
    }
}

/// A request to send. It may contain the codes of a call and secrets.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) content_type: Option<&'static str>,
    /// Empty if there is none.
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl RequestTemplate {
    /// `auth_headers`: those that `auth` sets.
    ///
    /// # Errors
    /// A template, a URL or a header that cannot be used, with its path.
    pub(super) fn parse(
        declared: &Declared<'_>,
        scope: Scope<'_>,
        auth_headers: &[HeaderName],
    ) -> Result<Self, ConfigError> {
        let path = declared.path;
        let url_path = format!("{path}.url");
        let url = UrlTemplate::parse(&url_path, declared.url.get(), scope)?;
        let mut headers = Vec::new();
        for (name, text) in declared.headers {
            let at = format!("{path}.headers.{name}");
            let name = header::name(&at, name)?;
            if auth_headers.contains(&name) {
                return Err(ConfigError::invalid(at, "is also set by `auth`; remove one of them"));
            }
            let value = template(&at, text.get(), scope)?;
            value.literals().try_for_each(|text| header::configured_value(&at, text).map(drop))?;
            headers.push((name, value));
        }
        let body = match (declared.form, declared.json) {
            (None, None) => Body::None,
            (Some(_), Some(_)) => {
                return Err(ConfigError::invalid(path, "has both `form` and `json`; remove one of them"));
            }
            (Some(form), None) => {
                let field = |(name, text): (&String, &Text)| {
                    Ok((name.clone(), template(&format!("{path}.form.{name}"), text.get(), scope)?))
                };
                Body::Form(form.iter().map(field).collect::<Result<_, ConfigError>>()?)
            }
            (None, Some(json)) => Body::Json(JsonTemplate::parse(&format!("{path}.json"), json, scope)?),
        };
        if declared.method == MethodConfig::Get && !matches!(body, Body::None) {
            return Err(ConfigError::invalid(format!("{path}.method"), "is GET, which has no body; use POST"));
        }
        Ok(Self { method: declared.method.into(), url, headers, body })
    }

    /// Returns scheme, host and port.
    pub(super) fn origin(&self) -> &Url {
        &self.url.origin
    }

    /// Returns the placeholders of the whole request.
    pub(super) fn placeholders(&self) -> Vec<&Placeholder> {
        let mut found: Vec<_> = self.url.templates().flat_map(Template::placeholders).collect();
        found.extend(self.headers.iter().flat_map(|(_, value)| value.placeholders()));
        match &self.body {
            Body::None => {}
            Body::Form(fields) => found.extend(fields.iter().flat_map(|(_, value)| value.placeholders())),
            Body::Json(json) => json.add_placeholders(&mut found),
        }
        found
    }

    /// Returns the names of the secrets in its headers.
    pub(super) fn secrets_in_headers(&self) -> impl Iterator<Item = &str> {
        let placeholders = self.headers.iter().flat_map(|(_, value)| value.placeholders());
        placeholders.filter_map(Placeholder::secret)
    }

    /// # Errors
    /// A value cannot stand in its place.
    pub(super) fn render(&self, values: &Values<'_>) -> Result<Request, RenderError> {
        let header = |(name, template): &(HeaderName, Template)| {
            let text = Zeroizing::new(template.render(values)?);
            Ok::<_, RenderError>((name.clone(), header::value(&text).ok_or(RenderError::Header)?))
        };
        let (content_type, body) = match &self.body {
            Body::None => (None, String::new()),
            Body::Form(fields) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                for (name, template) in fields {
                    form.append_pair(name, &Zeroizing::new(template.render(values)?));
                }
                (Some("application/x-www-form-urlencoded"), form.finish())
            }
            Body::Json(json) => (Some("application/json"), json.render(values)?.to_string()),
        };
        Ok(Request {
            method: self.method.clone(),
            url: self.url.render(values)?,
            headers: self.headers.iter().map(header).collect::<Result<_, _>>()?,
            content_type,
            body: Zeroizing::new(body.into_bytes()),
        })
    }
}

/// A URL whose path and query may have placeholders.
struct UrlTemplate {
    /// Scheme, host and port.
    origin: Url,
    segments: Vec<Template>,
    query: Option<Template>,
}

impl UrlTemplate {
    fn parse(path: &str, text: &str, scope: Scope<'_>) -> Result<Self, ConfigError> {
        let invalid = |problem: &str| ConfigError::invalid(path, problem);
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '\\' | '#')) {
            return Err(invalid("must have no blank, no backslash and no #"));
        }
        let after_scheme = text.find("://").map_or(0, |at| at + 3);
        let authority = text.get(after_scheme..).unwrap_or_default();
        let end = after_scheme + authority.find(['/', '?']).unwrap_or(authority.len());
        let (origin, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        if origin.contains(['{', '}']) {
            return Err(invalid("has a placeholder in its scheme or host; a request goes to one server only"));
        }
        let origin = provider_url(path, origin)?;
        let (segments, query) = match rest.split_once('?') {
            Some((segments, query)) => (segments, Some(query)),
            None => (rest, None),
        };
        let segments = segments.strip_prefix('/').unwrap_or(segments);
        if segments.split('/').any(|segment| is_dots(&segment.to_ascii_lowercase().replace("%2e", "."))) {
            return Err(invalid("has a path with `.` or `..`; write the whole path"));
        }
        let segments = segments.split('/').map(|segment| template(path, segment, scope)).collect::<Result<_, _>>()?;
        let query = query.map(|query| template(path, query, scope)).transpose()?;
        Ok(Self { origin, segments, query })
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        self.segments.iter().chain(&self.query)
    }

    fn render(&self, values: &Values<'_>) -> Result<Url, RenderError> {
        let mut segments = Vec::new();
        for segment in &self.segments {
            let plain = Zeroizing::new(segment.render(values)?);
            // A URL with an empty segment names another resource, and dots are removed with the segment before them,
            // however they are encoded.
            if segment.placeholders().next().is_some() && (plain.is_empty() || is_dots(&plain)) {
                return Err(RenderError::PathSegment);
            }
            segments.push(segment.render_encoded(values, percent_encode)?);
        }
        let mut text = format!("{}{}", self.origin, segments.join("/"));
        if let Some(query) = &self.query {
            text.push('?');
            text.push_str(&query.render_encoded(values, percent_encode)?);
        }
        let url = Url::parse(&text).map_err(|_| RenderError::Url)?;
        let has_same_path = url.path_segments().is_some_and(|found| found.count() == self.segments.len());
        if url.origin() == self.origin.origin() && has_same_path { Ok(url) } else { Err(RenderError::Url) }
    }
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// JSON whose texts may have placeholders.
enum JsonTemplate {
    Text(Template),
    List(Vec<JsonTemplate>),
    Object(Vec<(String, JsonTemplate)>),
    /// A number, a Boolean or null.
    Other(Value),
}

impl JsonTemplate {
    fn parse(path: &str, json: &Value, scope: Scope<'_>) -> Result<Self, ConfigError> {
        Ok(match json {
            Value::String(text) => Self::Text(template(path, text, scope)?),
            Value::Array(list) => {
                let parse = |(index, json)| Self::parse(&format!("{path}[{index}]"), json, scope);
                Self::List(list.iter().enumerate().map(parse).collect::<Result<_, _>>()?)
            }
            Value::Object(map) => {
                let parse = |(key, json): (&String, &Value)| {
                    Ok((key.clone(), Self::parse(&format!("{path}.{key}"), json, scope)?))
                };
                Self::Object(map.iter().map(parse).collect::<Result<_, ConfigError>>()?)
            }
            other => Self::Other(other.clone()),
        })
    }

    fn add_placeholders<'a>(&'a self, found: &mut Vec<&'a Placeholder>) {
        match self {
            Self::Text(template) => found.extend(template.placeholders()),
            Self::List(list) => list.iter().for_each(|json| json.add_placeholders(found)),
            Self::Object(map) => map.iter().for_each(|(_, json)| json.add_placeholders(found)),
            Self::Other(_) => {}
        }
    }

    fn render(&self, values: &Values<'_>) -> Result<Value, RenderError> {
        Ok(match self {
            Self::Text(template) => template.render(values)?.into(),
            Self::List(list) => list.iter().map(|json| json.render(values)).collect::<Result<Vec<_>, _>>()?.into(),
            Self::Object(map) => {
                let render = |(key, json): &(String, Self)| Ok((key.clone(), json.render(values)?));
                Value::Object(map.iter().map(render).collect::<Result<_, RenderError>>()?)
            }
            Self::Other(value) => value.clone(),
        })
    }
}

fn template(path: &str, text: &str, scope: Scope<'_>) -> Result<Template, ConfigError> {
    Template::parse(text, scope).map_err(|problem| ConfigError::invalid(path, problem))
}

#[cfg(test)]
mod tests;
