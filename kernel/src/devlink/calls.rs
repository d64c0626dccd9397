//! The family's requests, sent.

use tracing::debug;

use super::{EswitchMode, Handle, explain, wire};
use crate::{
    error::{Error, Result, errno},
    genl,
    netlink::Subject,
};

/// The family, found.
#[derive(Debug)]
pub struct Devlink {
    pub(super) family: genl::Family,
}

impl Devlink {
    /// Finds the family; `None` if the kernel was built without it.
    pub fn open() -> Result<Option<Self>> {
        Ok(genl::Family::find(wire::FAMILY)?.map(|family| Self { family }))
    }

    /// As [`Devlink::open`], with an error that says what to do.
    pub fn require() -> Result<Self> {
        Self::open()?
            .ok_or_else(|| genl::missing(wire::FAMILY, "this kernel was built without NET_DEVLINK"))
    }

    /// All devices of this network namespace.
    pub fn devices(&self) -> Result<Vec<Handle>> {
        let about = Subject { op: "list", object: "devlink devices" };
        let answer = self.family.dump(about, &wire::encode_get_devices())?;
        answer.iter().map(|message| wire::parse_device(&message.body)).collect()
    }

    /// The mode of a device's eswitch; `None` if it has none that has modes. Needs `CAP_NET_ADMIN`,
    /// also to read (`GENL_ADMIN_PERM`, net/devlink/netlink_gen.c).
    ///
    /// [`Error::Unexpected`] for a mode that is neither of ours.
    pub fn eswitch_mode(&self, device: &Handle) -> Result<Option<EswitchMode>> {
        let object = device.to_string();
        let about = Subject { op: "get eswitch mode of", object: &object };
        let answer = match self.family.request(about, &wire::encode_get_eswitch(device)) {
            Ok(answer) => answer,
            // no eswitch_mode_get (devlink_nl_eswitch_get_doit, net/devlink/dev.c)
            Err(error) if error.errno() == Some(errno::EOPNOTSUPP) => return Ok(None),
            Err(error) => return Err(explain::get(error)),
        };
        let Some(message) = answer.first() else {
            return Err(Error::parse(format!("eswitch of {object}"), "no message", "one message"));
        };
        let Some(number) = wire::parse_eswitch_mode(&message.body)? else { return Ok(None) };
        let mode = EswitchMode::from_number(number);
        mode.map(Some).ok_or_else(|| Error::Unexpected {
            object: format!("eswitch of {object}"),
            found: format!("mode {number}"),
            expected: "legacy (0) or switchdev (1)".to_owned(),
        })
    }

    /// Sets the mode of a device's eswitch, and looks whether it is so. Needs `CAP_NET_ADMIN`.
    ///
    /// Sleeps while the driver tears down and sets up every function's port, and while anybody else
    /// has the device's devlink lock: go through [`crate::stuck`].
    pub fn set_eswitch_mode(&self, device: &Handle, mode: EswitchMode) -> Result<()> {
        debug!(devlink = %device, %mode, "set eswitch mode");
        let object = device.to_string();
        let about = Subject { op: "set eswitch mode of", object: &object };
        self.family
            .request(about, &wire::encode_set_eswitch_mode(device, mode))
            .map_err(|error| explain::set(error, mode))?;
        let found = self.eswitch_mode(device)?;
        if found == Some(mode) {
            return Ok(());
        }
        Err(Error::Unexpected {
            object: format!("eswitch mode of {object}"),
            found: found.map_or("none", EswitchMode::as_str).to_owned(),
            expected: mode.as_str().to_owned(),
        })
    }

    /// The names and values of all that a device runs (Documentation/networking/devlink/
    /// devlink-info.rst): `fw.app.name` is the package of a card that takes one. Empty where its driver
    /// tells nothing.
    pub fn running_versions(&self, device: &Handle) -> Result<Vec<(String, String)>> {
        let object = device.to_string();
        let about = Subject { op: "get info of", object: &object };
        match self.family.request(about, &wire::encode_get_info(device)) {
            Ok(answer) => match answer.first() {
                Some(message) => wire::parse_running_versions(&message.body),
                None => Ok(Vec::new()),
            },
            // no info_get (devlink_nl_info_get_doit, net/devlink/dev.c)
            Err(error) if error.errno() == Some(errno::EOPNOTSUPP) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}
