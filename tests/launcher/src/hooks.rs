//! virt-launcher's side of the hooks protocol, as `pkg/hooks/manager.go` of KubeVirt has it: every
//! 300 ms it lists what each sidecar has put into its directory and dials whatever is no
//! directory; who does not answer is not ready yet, who answers wrongly fails the VM. For each call
//! it dials anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ringway_proto::kubevirt::info::info_client::InfoClient;
use ringway_proto::kubevirt::info::{InfoParams, InfoResult};
use ringway_proto::kubevirt::v1alpha3;
use ringway_proto::kubevirt::v1alpha3::callbacks_client::CallbacksClient;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};

const PAUSE: Duration = Duration::from_millis(300);
const DIAL: Duration = Duration::from_secs(1);
/// KubeVirt allows one second; an emulated node that starts three containers may need more.
const INFO: Duration = Duration::from_secs(10);
const CALL: Duration = Duration::from_secs(60);
/// What KubeVirt speaks, the newest first.
const VERSIONS: [&str; 3] = ["v1alpha3", "v1alpha2", "v1alpha1"];

/// The hooks of this pod.
#[derive(Debug)]
pub struct Hooks(Vec<Hook>);

/// A hook that has said what it can.
#[derive(Debug)]
struct Hook {
    socket: PathBuf,
    info: InfoResult,
}

impl Hooks {
    /// Waits until `count` hooks have answered.
    ///
    /// # Errors
    /// One answers wrongly, speaks no version of ours, or not all come in time.
    pub async fn collect(dir: &Path, count: usize, limit: Duration) -> Result<Self> {
        let deadline = Instant::now() + limit;
        // by the socket's own name, as KubeVirt counts them
        let mut found = BTreeMap::new();
        while found.len() < count {
            for socket in sockets(dir)? {
                let name = socket.file_name().map(ToOwned::to_owned);
                if let (Some(name), Ok(channel)) = (name, dial(&socket).await)
                    && !found.contains_key(&name)
                {
                    found.insert(name, ask(socket, channel).await?);
                }
            }
            if Instant::now() >= deadline {
                bail!("{} of {count} hooks answered below {}", found.len(), dir.display());
            }
            sleep(PAUSE).await;
        }
        Ok(Self(found.into_values().collect()))
    }

    /// One line about each hook.
    pub fn describe(&self) -> Vec<String> {
        let line = |hook: &Hook| {
            let points: Vec<_> = hook.info.hook_points.iter().map(|p| p.name.as_str()).collect();
            format!("{} at {}: {}", hook.info.name, hook.socket.display(), points.join(", "))
        };
        self.0.iter().map(line).collect()
    }

    /// Asks each hook in turn for the domain that libvirt shall define.
    ///
    /// # Errors
    /// A hook refuses.
    pub async fn define(&self, domain: &str, vmi: &str) -> Result<String> {
        let mut domain = domain.to_owned();
        for hook in self.called_at("OnDefineDomain") {
            let params = v1alpha3::OnDefineDomainParams {
                domain_xml: domain.into_bytes(),
                vmi: vmi.as_bytes().to_vec(),
            };
            let mut client = hook.client().await?;
            let answer = timeout(CALL, client.on_define_domain(params)).await;
            let because = || format!("OnDefineDomain of {}", hook.socket.display());
            let answer = answer.with_context(because)?.with_context(because)?.into_inner();
            domain = String::from_utf8(answer.domain_xml).with_context(because)?;
        }
        Ok(domain)
    }

    /// Tells each hook that the VM has ended.
    ///
    /// # Errors
    /// A hook cannot be told.
    pub async fn shutdown(&self) -> Result<()> {
        for hook in self.called_at("Shutdown") {
            let mut client = hook.client().await?;
            let answer = timeout(CALL, client.shutdown(v1alpha3::ShutdownParams {})).await;
            let because = || format!("Shutdown of {}", hook.socket.display());
            answer.with_context(because)?.with_context(because)?;
        }
        Ok(())
    }

    fn called_at<'a>(&'a self, point: &'a str) -> impl Iterator<Item = &'a Hook> {
        self.0.iter().filter(move |hook| hook.info.hook_points.iter().any(|p| p.name == point))
    }
}

impl Hook {
    async fn client(&self) -> Result<CallbacksClient<Channel>> {
        let channel = dial(&self.socket).await;
        Ok(CallbacksClient::new(
            channel.with_context(|| format!("dial {}", self.socket.display()))?,
        ))
    }
}

/// Whatever is no directory in a directory below `dir`.
fn sockets(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for sidecar in std::fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))? {
        let sidecar = sidecar?;
        if !sidecar.file_type()?.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(sidecar.path())? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

async fn dial(socket: &Path) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
    Ok(timeout(DIAL, endpoint.connect()).await??)
}

async fn ask(socket: PathBuf, channel: Channel) -> Result<Hook> {
    let because = || format!("Info of {}", socket.display());
    let answer = timeout(INFO, InfoClient::new(channel).info(InfoParams {})).await;
    let info = answer.with_context(because)?.with_context(because)?.into_inner();
    match newest(&info.versions) {
        Some(v1alpha3::VERSION) => Ok(Hook { socket, info }),
        Some(older) => bail!("{} speaks {older} at best: not played here", socket.display()),
        None => bail!("{} speaks {:?}, not {VERSIONS:?}", socket.display(), info.versions),
    }
}

/// The newest version that KubeVirt and a hook both speak.
fn newest(spoken: &[String]) -> Option<&'static str> {
    VERSIONS.into_iter().find(|version| spoken.iter().any(|s| s == version))
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn the_newest_common_version_is_taken() {
        let check = |spoken: &[&str], expected: Option<&str>| {
            let spoken: Vec<_> = spoken.iter().map(|s| (*s).to_owned()).collect();
            assert_eq!(newest(&spoken), expected);
        };
        check(&["v1alpha1", "v1alpha3", "v1alpha2"], Some("v1alpha3"));
        check(&["v1alpha1", "v9"], Some("v1alpha1"));
        check(&["v9"], None);
        check(&[], None);
    }
}
