//! A manual page: what clap knows of the flags, and below it what all programs share (exit codes, files).

use std::io;

use clap::Command;
use clap_mangen::Man;
use perennial_boot::{DEFAULT_FILE, Exit};
use roff::{Inline, Roff, bold, roman};

use crate::{PRIVATE_FOLDER, Program, SECTION};

/// The program's pages by name: its own, and one for each of its commands.
pub(crate) fn of(program: &Program) -> io::Result<Vec<(String, Vec<u8>)>> {
    let command = program.command.clone().name(program.page).bin_name(called(program)).disable_help_subcommand(true);
    let mut pages = Vec::new();
    add(program, named_in_full(command), &mut pages)?;
    Ok(pages)
}

/// Passes are called by their path: they are not on the PATH.
fn called(program: &Program) -> String {
    if program.is_pass { format!("{PRIVATE_FOLDER}/{}", program.called) } else { program.called.to_owned() }
}

/// Builds the command, so that global flags are in each of its commands and each knows how it is called.
fn named_in_full(mut command: Command) -> Command {
    command.build();
    command
}

fn add(program: &Program, command: Command, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        add(program, below.clone(), pages)?;
    }
    let page = page(program, &name, command)?;
    pages.push((name, page));
    Ok(())
}

fn page(program: &Program, name: &str, command: Command) -> io::Result<Vec<u8>> {
    let has_commands = command.has_subcommands();
    let source = format!("Perennial {}", perennial_boot::VERSION);
    let man = Man::new(command).title(name).section(SECTION).manual("Perennial").source(source);
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if has_commands {
        man.render_subcommands_section(&mut out)?;
    }
    exit_status().to_writer(&mut out)?;
    files(program).to_writer(&mut out)?;
    see_also(program, name).to_writer(&mut out)?;
    Ok(out)
}

fn exit_status() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for exit in Exit::ALL {
        entry(&mut roff, &exit.code().to_string(), exit.meaning());
    }
    entry(&mut roff, "128+N", Exit::Signalled(0).meaning());
    roff
}

fn files(program: &Program) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["FILES"]);
    entry(&mut roff, DEFAULT_FILE, "Settings, read when it exists and no other file is named.");
    entry(&mut roff, "/etc/perennial/database-url", "Connection string, handed to the passes by systemd.");
    if program.is_pass {
        entry(&mut roff, "/etc/perennial/telegram-token", "Token of the bot, handed to the passes by systemd.");
        let units = format!("/usr/lib/systemd/system/{0}.timer, {0}.service", program.page);
        entry(&mut roff, &units, "When it runs, and how.");
    }
    roff
}

fn see_also(program: &Program, name: &str) -> Roff {
    let mut others: Vec<String> =
        crate::programs().iter().map(|other| other.page.to_owned()).filter(|page| page != name).collect();
    if !others.iter().any(|page| page == program.page) && program.page != name {
        others.insert(0, program.page.to_owned());
    }
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    let mut line: Vec<Inline> = Vec::new();
    for (index, page) in others.iter().enumerate() {
        if index > 0 {
            line.push(roman(", "));
        }
        line.extend([bold(page), roman(format!("({SECTION})"))]);
    }
    roff.text(line);
    roff.text([roman("Documents: /usr/share/doc/perennial")]);
    roff
}

fn entry(roff: &mut Roff, term: &str, text: &str) {
    roff.control("TP", []);
    roff.text([bold(term)]);
    roff.text([roman(text)]);
}
