//! Saying who posts.

use std::sync::{Mutex, MutexGuard};

use reqwest::{RequestBuilder, header::HeaderValue};

use super::{Credentials, SecretPlace, secret::Secret};

/// Who posts, with the secret that proves it, which may be renewed.
#[derive(Debug)]
pub(super) struct Authorization {
    credentials: Credentials,
    secret: Mutex<Option<Secret>>,
}

impl Authorization {
    /// Fetches the secret; the error says, for people, why it cannot be had.
    pub(super) fn open(
        credentials: &Credentials,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let secret = match place(credentials) {
            None => None,
            Some(place) => Some(fetch(place, environment)?),
        };
        Ok(Self {
            credentials: credentials.clone(),
            secret: Mutex::new(secret),
        })
    }

    fn secret(&self) -> MutexGuard<'_, Option<Secret>> {
        self.secret.lock().expect("no holder of this lock panics")
    }

    /// The secret to send now.
    pub(super) fn get(&self) -> Option<Secret> {
        self.secret().clone()
    }

    /// Adds it to a request.
    pub(super) fn apply(&self, request: RequestBuilder, secret: Option<&Secret>) -> RequestBuilder {
        match (&self.credentials, secret) {
            (Credentials::Bearer(_), Some(secret)) => request.bearer_auth(secret.expose()),
            (Credentials::Basic { user, .. }, Some(secret)) => {
                request.basic_auth(user, Some(secret.expose()))
            }
            (Credentials::None, _) | (_, None) => request,
        }
    }

    /// What to send after `refused` was refused, if there is something else: what was put into the
    /// secret's file meanwhile, or what another request has found there.
    pub(super) fn renewed(&self, refused: Option<&Secret>) -> Result<Option<Secret>, String> {
        let current = self.get();
        if current.as_ref() != refused {
            return Ok(current);
        }
        let Some(place @ SecretPlace::File(_)) = place(&self.credentials) else {
            return Ok(None);
        };
        let new = fetch(place, &|_| None)?;
        if Some(&new) == refused {
            return Ok(None);
        }
        *self.secret() = Some(new.clone());
        Ok(Some(new))
    }
}

fn place(credentials: &Credentials) -> Option<&SecretPlace> {
    match credentials {
        Credentials::None => None,
        Credentials::Bearer(place)
        | Credentials::Basic {
            password: place, ..
        } => Some(place),
    }
}

/// A secret that can be sent.
fn fetch(
    place: &SecretPlace,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Secret, String> {
    let secret = place.fetch(environment)?;
    match HeaderValue::from_str(secret.expose()) {
        Ok(_) => Ok(secret),
        Err(_) => Err("the secret holds characters that cannot be in a header".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let credentials = Credentials::Bearer(SecretPlace::Environment("T".into()));
        let authorization = Authorization::open(&credentials, &|_| Some("hush".into())).unwrap();
        assert!(!format!("{authorization:?}").contains("hush"));
        Authorization::open(&credentials, &|_| None).unwrap_err();
    }

    #[test]
    fn a_file_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "old\n").unwrap();
        let credentials = Credentials::Bearer(SecretPlace::File(file.path().into()));
        let authorization = Authorization::open(&credentials, &|_| None).unwrap();
        let old = authorization.get();
        assert_eq!(authorization.renewed(old.as_ref()).unwrap(), None);
        std::fs::write(file.path(), "new\n").unwrap();
        let new = authorization.renewed(old.as_ref()).unwrap();
        assert_eq!(new, Some(Secret::new("new")));
        assert_eq!(authorization.renewed(old.as_ref()).unwrap(), new);
    }
}
