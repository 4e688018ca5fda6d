//! `drumlin key new`: a fresh key and its entry for the key file. The key is printed once and stored nowhere.

use clap::{Args, Subcommand};

use crate::http::{KeyEntry, KeyScope};
use crate::{Error, ErrorKind, Result};

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Print a fresh key, then its entry for the list in the file that DRUMLIN_KEY_FILE names.
    New(NewKey),
}

#[derive(Debug, Args)]
pub struct NewKey {
    /// What the key allows: read, write (and read), admin (everything).
    #[arg(long)]
    scope: KeyScope,
    /// The key's name in the log; made from its hash if not given.
    #[arg(long)]
    name: Option<String>,
    /// The only tenant that the key sees.
    #[arg(long)]
    tenant: Option<String>,
    /// The only database of that tenant that the key sees.
    #[arg(long, requires = "tenant")]
    database: Option<String>,
    /// When the key ends, in UTC: 2027-01-31 or 2027-01-31T18:00:00Z.
    #[arg(long)]
    expires: Option<String>,
}

pub fn run(command: KeyCommand) -> Result<()> {
    let KeyCommand::New(NewKey { scope, name, tenant, database, expires }) = command;
    let sha256 = String::new();
    let wanted = KeyEntry { name: name.unwrap_or_default(), sha256, scope, tenant, database, expires };
    let (key, entry) = KeyEntry::fresh(wanted)?;
    let entry = serde_json::to_string(&entry)
        .map_err(|e| Error::new(ErrorKind::Internal, "the entry could not be written").with_source(e))?;
    eprintln!("The key, which is shown only once, and its entry for the file that DRUMLIN_KEY_FILE names:");
    println!("{key}\n{entry}");
    Ok(())
}
