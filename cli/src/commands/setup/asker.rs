//! Asks a question: by its option, else at the terminal.

use std::io::IsTerminal;
use std::path::Path;

use inquire::{Confirm, InquireError, Select, Text};
use zeroize::Zeroizing;

use crate::error::CommandError;
use crate::hidden_input;

/// Why the questions have ended.
pub(super) enum Stop {
    /// The user pressed Esc or Ctrl-C, or did not allow a local peer, or declined to write the file.
    Cancelled,
    /// An answer is missing or wrong, or the terminal failed.
    Failed(CommandError),
}

impl From<CommandError> for Stop {
    fn from(error: CommandError) -> Self {
        Self::Failed(error)
    }
}

impl From<InquireError> for Stop {
    fn from(error: InquireError) -> Self {
        match error {
            InquireError::OperationCanceled | InquireError::OperationInterrupted => Self::Cancelled,
            error => Self::Failed(CommandError::usage(format!("cannot ask at this terminal: {error}"))),
        }
    }
}

/// A question with a text as its answer.
pub(super) struct Question<'a> {
    /// The option that answers it.
    pub(super) option: &'static str,
    pub(super) text: &'a str,
    /// Shown below the question.
    pub(super) help: &'a str,
    /// The answer if there is none. `None`: one must be given.
    pub(super) default: Option<String>,
    /// Returns what is wrong with an answer.
    pub(super) check: &'a dyn Fn(&str) -> Result<(), String>,
}

impl Question<'_> {
    /// Returns the error that the answer by the option is wrong.
    pub(super) fn wrong(&self, problem: &str) -> CommandError {
        CommandError::usage(format!("{}: {problem}", self.option))
    }
}

/// Asks at the terminal, if there is one.
pub(super) struct Asker {
    is_interactive: bool,
}

impl Asker {
    /// With `json`, nothing is asked.
    pub(super) fn new(json: bool) -> Self {
        Self { is_interactive: !json && std::io::stdin().is_terminal() && std::io::stderr().is_terminal() }
    }

    /// Returns whether it can ask.
    pub(super) fn is_interactive(&self) -> bool {
        self.is_interactive
    }

    /// Returns the answer, without blanks at its ends. `given` is that of the option.
    pub(super) fn text(&self, question: &Question<'_>, given: Option<&str>) -> Result<String, Stop> {
        self.ask(question, given, &|answer| answer.to_owned())
    }

    /// Like [`Asker::text`], for a telephone number: it is masked once it was entered.
    pub(super) fn number(&self, question: &Question<'_>, given: Option<&str>) -> Result<String, Stop> {
        self.ask(question, given, &phonegate::redact::mask_numbers)
    }

    /// Like [`Asker::text`], for the path of a file. Returns its absolute path, or an empty text if that is an answer.
    pub(super) fn file(&self, question: &Question<'_>, given: Option<&Path>) -> Result<String, Stop> {
        let absolute = |path: &Path| match path.as_os_str().is_empty() {
            true => Ok(String::new()),
            false => absolute_path(path).map_err(|problem| question.wrong(&problem)),
        };
        let answer = self.text(question, given.map(absolute).transpose()?.as_deref())?;
        Ok(absolute(answer.as_ref())?)
    }

    fn ask(
        &self,
        question: &Question<'_>,
        given: Option<&str>,
        shown: &dyn Fn(&str) -> String,
    ) -> Result<String, Stop> {
        let unattended = given.or(question.default.as_deref().filter(|_| !self.is_interactive));
        if let Some(answer) = unattended {
            let answer = answer.trim();
            let check = (question.check)(answer);
            return check.map(|()| answer.to_owned()).map_err(|problem| question.wrong(&problem).into());
        }
        if !self.is_interactive {
            return Err(missing(question.option, question.text).into());
        }
        loop {
            let mut text = Text::new(question.text).with_help_message(question.help).with_formatter(shown);
            if let Some(default) = question.default.as_deref().filter(|default| !default.is_empty()) {
                text = text.with_default(default);
            }
            let answer = text.prompt()?.trim().to_owned();
            match (question.check)(&answer) {
                Ok(()) => return Ok(answer),
                Err(problem) => crate::output::note(&format!("  {problem}")),
            }
        }
    }

    /// Returns the index of the choice.
    pub(super) fn choice(&self, option: &str, text: &str, choices: Vec<&str>) -> Result<usize, Stop> {
        if !self.is_interactive {
            return Err(missing(option, text).into());
        }
        Ok(Select::new(text, choices).raw_prompt()?.index)
    }

    /// Returns the answer, or `true` if it cannot ask.
    pub(super) fn confirm(&self, text: &str, default: bool) -> Result<bool, Stop> {
        if !self.is_interactive {
            return Ok(true);
        }
        Ok(Confirm::new(text).with_default(default).prompt()?)
    }

    /// Reads a secret, without showing it. `options` answer it instead.
    pub(super) fn secret(&self, options: &str, text: &str) -> Result<Zeroizing<String>, Stop> {
        if !self.is_interactive {
            return Err(missing(options, text).into());
        }
        let typed = hidden_input::ask_secret(text)
            .map_err(|error| CommandError::usage(format!("cannot read the {text}: {error}")))?;
        typed.ok_or(Stop::Cancelled)
    }
}

/// Returns the absolute path of a file as a text for the configuration.
///
/// # Errors
/// If it is not UTF-8, as JSON is.
pub(super) fn absolute_path(path: &Path) -> Result<String, String> {
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    path.to_str().map(str::to_owned).ok_or_else(|| {
        format!(
            "the path {} is not UTF-8, so the configuration cannot name it; rename it, or make a link to it with another \
             name",
            path.display()
        )
    })
}

/// Returns the absolute path of the file that an option names, as a text for the configuration.
///
/// # Errors
/// If it is not UTF-8.
pub(super) fn option_path(option: &str, file: &Path) -> Result<String, CommandError> {
    absolute_path(file).map_err(|problem| CommandError::usage(format!("{option}: {problem}")))
}

fn missing(option: &str, text: &str) -> CommandError {
    let error = CommandError::usage(format!("{option} is missing: {}", lower(text)));
    error.hint("at a terminal, without --json, `phonegate setup` asks for what is missing")
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    // Not for an abbreviation.
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain([second]).chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}
