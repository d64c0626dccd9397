// SPDX-License-Identifier: GPL-2.0
/*
 * An eswitch in switchdev mode for the lab, which no emulated card has: a devlink instance of a PF whose
 * driver has none, with a port and a representor for each of its VFs, as ice makes them
 * (drivers/net/ethernet/intel/ice/devlink/port.c, ice_repr.c). The address of a port's function is the
 * one that the PF's driver gives the VF. Rates are taken, and nothing is held to them: a most of it
 * (tx_max), and no share, as with a driver that has no such thing.
 *
 *   modprobe labswitch parent=0000:02:00.0 vfs=2
 */
#include <linux/etherdevice.h>
#include <linux/if_link.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/rtnetlink.h>
#include <net/devlink.h>

#define MOST 8

static char *parent;
module_param(parent, charp, 0444);
MODULE_PARM_DESC(parent, "the PF that it is part of");
static unsigned int vfs;
module_param(vfs, uint, 0444);
MODULE_PARM_DESC(vfs, "how many VFs it has");

static struct pci_dev *pdev;
static struct net_device *uplink;
static struct devlink *devlink;
static struct devlink_port ports[MOST];
static struct net_device *representors[MOST];

/* The interface of the PF's driver, which sets VFs; a representor is below the PF, too. */
static struct net_device *find_uplink(void)
{
	struct net_device *dev, *found = NULL;

	rtnl_lock();
	for_each_netdev(&init_net, dev) {
		if (dev->dev.parent == &pdev->dev && dev->netdev_ops->ndo_set_vf_mac &&
		    dev->netdev_ops->ndo_get_vf_config)
			found = dev;
	}
	if (found)
		dev_hold(found);
	rtnl_unlock();
	return found;
}

/*
 * Without rtnl, which who renames the representor has already (devlink_port_netdevice_event,
 * net/devlink/port.c, tells those who listen): igb only looks (igb_ndo_get_vf_config).
 */
static int address_get(struct devlink_port *port, u8 *address, int *length,
		       struct netlink_ext_ack *extack)
{
	struct ifla_vf_info info = {};
	int err = uplink->netdev_ops->ndo_get_vf_config(uplink, port->attrs.pci_vf.vf, &info);

	if (err)
		return err;
	ether_addr_copy(address, info.mac);
	*length = ETH_ALEN;
	return 0;
}

/* The devlink lock is held, and rtnl is taken below it, as everywhere. */
static int address_set(struct devlink_port *port, const u8 *address, int length,
		       struct netlink_ext_ack *extack)
{
	u8 mac[ETH_ALEN];
	int err;

	ether_addr_copy(mac, address);
	rtnl_lock();
	err = uplink->netdev_ops->ndo_set_vf_mac(uplink, port->attrs.pci_vf.vf, mac);
	rtnl_unlock();
	return err;
}

static const struct devlink_port_ops port_operations = {
	.port_fn_hw_addr_get = address_get,
	.port_fn_hw_addr_set = address_set,
};

/* devlink itself keeps the value. */
static int most_set(struct devlink_rate *rate, void *priv, u64 most,
		    struct netlink_ext_ack *extack)
{
	return 0;
}

static int mode_get(struct devlink *devlink, u16 *mode)
{
	*mode = DEVLINK_ESWITCH_MODE_SWITCHDEV;
	return 0;
}

static const struct devlink_ops operations = {
	.eswitch_mode_get = mode_get,
	.rate_leaf_tx_max_set = most_set,
};

static netdev_tx_t drop(struct sk_buff *skb, struct net_device *dev)
{
	dev_kfree_skb_any(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops representor_operations = {
	.ndo_start_xmit = drop,
};

static int represent(int vf)
{
	struct net_device *dev = alloc_etherdev(0);
	int err;

	if (!dev)
		return -ENOMEM;
	SET_NETDEV_DEV(dev, &pdev->dev);
	SET_NETDEV_DEVLINK_PORT(dev, &ports[vf]);
	dev->netdev_ops = &representor_operations;
	eth_hw_addr_random(dev);
	err = register_netdev(dev);
	if (err) {
		free_netdev(dev);
		return err;
	}
	representors[vf] = dev;
	return 0;
}

static int make(int vf)
{
	int err;

	devlink_port_attrs_pci_vf_set(&ports[vf], 0, PCI_FUNC(pdev->devfn), vf, false);
	/* behind the number that the uplink's port would have */
	err = devl_port_register_with_ops(devlink, &ports[vf], vf + 1, &port_operations);
	if (err)
		return err;
	err = devl_rate_leaf_create(&ports[vf], NULL, NULL);
	if (!err)
		err = represent(vf);
	if (!err)
		return 0;
	devl_rate_leaf_destroy(&ports[vf]);
	devl_port_unregister(&ports[vf]);
	return err;
}

static void unmake_all(void)
{
	int vf;

	for (vf = 0; vf < MOST; vf++) {
		if (!representors[vf])
			continue;
		unregister_netdev(representors[vf]);
		free_netdev(representors[vf]);
		devl_rate_leaf_destroy(&ports[vf]);
		devl_port_unregister(&ports[vf]);
	}
}

static void forget(void)
{
	devlink_free(devlink);
	dev_put(uplink);
	pci_dev_put(pdev);
}

static int __init start(void)
{
	unsigned int domain, bus, slot, function;
	int vf, err = 0;

	if (vfs > MOST || !parent ||
	    sscanf(parent, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
		return -EINVAL;
	pdev = pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, function));
	if (!pdev)
		return -ENODEV;
	uplink = find_uplink();
	if (!uplink) {
		pci_dev_put(pdev);
		return -ENODEV;
	}
	devlink = devlink_alloc(&operations, 0, &pdev->dev);
	if (!devlink) {
		dev_put(uplink);
		pci_dev_put(pdev);
		return -ENOMEM;
	}
	devl_lock(devlink);
	for (vf = 0; vf < vfs && !err; vf++)
		err = make(vf);
	if (!err)
		err = devl_register(devlink);
	if (err)
		unmake_all();
	devl_unlock(devlink);
	if (err)
		forget();
	return err;
}
module_init(start);

static void __exit stop(void)
{
	devl_lock(devlink);
	devl_unregister(devlink);
	unmake_all();
	devl_unlock(devlink);
	forget();
}
module_exit(stop);

MODULE_DESCRIPTION("an eswitch in switchdev mode for the lab");
MODULE_LICENSE("GPL");
