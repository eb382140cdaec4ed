//! The questions about a program that places calls.

use std::path::Path;

use serde_json::json;

use super::Arguments;
use super::asker::{self, Asker, Question, Stop};
use super::telephony::Backend;
use super::{settings, validate};
use crate::error::CommandError;

/// The arguments with which PowerShell runs a script. The script is added as the last one.
const POWERSHELL: [&str; 5] = ["-NoProfile", "-NonInteractive", "-ExecutionPolicy", "AllSigned", "-File"];

/// Asks about a program, its script and its arguments.
pub(super) fn ask(arguments: &Arguments, asker: &Asker, base: &Path) -> Result<Backend, Stop> {
    let question = Question {
        option: "--program",
        text: "Program that places a call",
        help: "its absolute path. No shell runs it: for a script, give its interpreter, such as powershell.exe or \
               python3",
        default: None,
        check: &|text| check_program(text, base),
    };
    let program = asker.file(&question, arguments.program.as_deref())?;
    let question = Question {
        option: "--script",
        text: "Script that the program runs",
        help: "its absolute path; empty if there is none",
        default: Some(String::new()),
        check: &|text| if text.is_empty() { Ok(()) } else { check_file(text) },
    };
    let script = asker.file(&question, arguments.script.as_deref())?;
    let list = ask_arguments(arguments, asker, &program, &script, base)?;
    let question = Question {
        option: "--environment",
        text: "Environment variables that it needs",
        help: "names, separated by commas; empty: only those of the system, such as TEMP. The service must have them \
               too",
        default: Some(String::new()),
        check: &|text| check_environment(&program, text, base),
    };
    let environment = asker.text(&question, arguments.environment.as_deref())?;
    let environment = names(&environment);
    let supports_check = arguments.supports_check
        || asker.is_interactive() && asker.confirm("Does it support checks, which ring no phone?", false)?;
    let mut settings = json!({ "type": "exec", "program": program });
    if !list.is_empty() {
        settings::set(&mut settings, "/arguments", json!(list));
    }
    if !script.is_empty() {
        settings::set(&mut settings, "/script", json!(script));
    }
    if !environment.is_empty() {
        settings::set(&mut settings, "/environment", json!(environment));
    }
    if supports_check {
        settings::set(&mut settings, "/supports_check", json!(true));
    }
    Ok(Backend::new("program", settings))
}

fn ask_arguments(
    arguments: &Arguments,
    asker: &Asker,
    program: &str,
    script: &str,
    base: &Path,
) -> Result<Vec<String>, Stop> {
    let check =
        |list: &[String]| validate::check(&json!({ "type": "exec", "program": program, "arguments": list }), base);
    let given = &arguments.argument;
    if given.iter().any(|argument| !argument.is_empty()) {
        let wrong = |problem| CommandError::usage(format!("--argument: {problem}"));
        return Ok(check(given).map(|()| given.clone()).map_err(wrong)?);
    }
    if !given.is_empty() {
        return Ok(Vec::new());
    }
    let usual: &[&str] = if !script.is_empty() && is_powershell(program) { &POWERSHELL } else { &[] };
    let text = format!("Start it with {} before the script?", usual.join(" "));
    if !usual.is_empty() && asker.confirm(&text, true)? || !asker.is_interactive() {
        return Ok(usual.iter().map(|argument| (*argument).to_owned()).collect());
    }
    let mut list = Vec::new();
    loop {
        let question = Question {
            option: "--argument",
            text: &format!("Argument {} of the program", list.len() + 1),
            help: "before the script; empty if there is no further one; no secret, since other users can see arguments",
            default: Some(String::new()),
            check: &|text| match text.is_empty() {
                true => Ok(()),
                false => check(&[&list[..], &[text.to_owned()]].concat()),
            },
        };
        match asker.text(&question, None)? {
            argument if argument.is_empty() => return Ok(list),
            argument => list.push(argument),
        }
    }
}

fn is_powershell(program: &str) -> bool {
    let name = Path::new(program).file_stem().unwrap_or_default();
    name.eq_ignore_ascii_case("powershell") || name.eq_ignore_ascii_case("pwsh")
}

fn check_program(text: &str, base: &Path) -> Result<(), String> {
    check_file(text)?;
    let program = asker::absolute_path(text.as_ref())?;
    if Path::new(&program).extension().is_some_and(|suffix| suffix.eq_ignore_ascii_case("ps1")) {
        return Err("is a PowerShell script: give powershell.exe here, and this file as the script".to_owned());
    }
    validate::check(&json!({ "type": "exec", "program": program }), base)
}

fn names(list: &str) -> Vec<&str> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
}

fn check_environment(program: &str, list: &str, base: &Path) -> Result<(), String> {
    let names = names(list);
    if names.iter().any(|name| name.contains(char::is_whitespace)) {
        return Err("write names, separated by commas".to_owned());
    }
    validate::check(&json!({ "type": "exec", "program": program, "environment": names }), base)
}

fn check_file(text: &str) -> Result<(), String> {
    let path = asker::absolute_path(text.as_ref())?;
    match Path::new(&path).is_file() {
        true => Ok(()),
        false => Err(format!("there is no file {path}")),
    }
}
