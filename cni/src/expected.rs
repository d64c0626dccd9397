//! What a network expects of a vDPA device, against what `pools.json` tells of it: the agent reads that
//! from the kernel, whose generic netlink nobody here asks.

use ringway_kernel::features::Features;
use ringway_node::pools::Device;

use crate::{
    attachment::Attachment,
    check::differs,
    error::{Code, Error, Result},
    grant,
    netconf::vdpa::Expected,
    record::Record,
    world::World,
};

/// What a device lacks.
#[derive(Debug, PartialEq, Eq)]
struct Lack {
    field: &'static str,
    asked: String,
    has: String,
}

/// For ADD: an error if the device lacks something.
pub fn grant(expected: &Expected, device: &Device, attachment: Attachment) -> Result<()> {
    if expected.is_nothing() {
        return Ok(());
    }
    if !attachment.is_vdpa() {
        let text = format!(
            "network configuration: field vdpa: device {} is attached as {attachment}, and is no vDPA \
             device",
            device.id
        );
        return Err(Error::new(Code::Config, text));
    }
    let Some(Lack { field, asked, has }) = lack(expected, device) else { return Ok(()) };
    let text = format!(
        "network configuration: field vdpa.{field} asks for {asked}, device {} has {has}",
        device.id
    );
    let advice = "what its devices have is set by `vdpa` in the pool of the DevicePolicy";
    Err(Error::new(Code::Config, text).advise(advice))
}

/// For CHECK: the same of the device as it is told now.
pub fn check(world: &World, expected: &Expected, record: &Record) -> Result<()> {
    if expected.is_nothing() {
        return Ok(());
    }
    let pools = grant::read_pools(world)?;
    let Some((_, device)) = pools.find(&record.device) else {
        return Err(differs(&format!("pool of device {}", record.device), "none", "one"));
    };
    match lack(expected, device) {
        None => Ok(()),
        Some(Lack { field, asked, has }) => {
            Err(differs(&format!("vdpa.{field} of device {}", device.id), &has, &asked))
        }
    }
}

fn lack(expected: &Expected, device: &Device) -> Option<Lack> {
    // one without VIRTIO_NET_F_MQ has one pair, and tells none (virtio 1.3, section 5.1.4)
    let pairs = device.queue_pairs.unwrap_or(1);
    if let Some(asked) = expected.queue_pairs.filter(|asked| *asked > pairs) {
        let (asked, has) = (asked.to_string(), pairs.to_string());
        return Some(Lack { field: "queuePairs", asked, has });
    }
    let names = device.features.iter().filter_map(|name| name.parse::<Features>().ok());
    let has = names.fold(Features::default(), |all, feature| all | feature);
    let missing = expected.features - has;
    (missing != Features::default()).then(|| Lack {
        field: "features",
        asked: missing.to_string(),
        has: if has == Features::default() {
            "none that is known".to_owned()
        } else {
            has.to_string()
        },
    })
}
