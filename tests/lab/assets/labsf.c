// SPDX-License-Identifier: GPL-2.0
/*
 * Subfunctions for the lab, which no emulated card has: devices called "sf" on the kernel's own auxiliary
 * bus, below a PCI function, as mlx5_core makes them
 * (drivers/net/ethernet/mellanox/mlx5/core/sf/dev/dev.c). Each tells its sfnum, and has an Ethernet
 * interface once its driver has taken it. What one interface sends all others get.
 *
 *   modprobe labsf parent=0000:02:00.0 sfnum=88,89
 */
#include <linux/auxiliary_bus.h>
#include <linux/etherdevice.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <linux/slab.h>

#define MOST 8

static char *parent;
module_param(parent, charp, 0444);
MODULE_PARM_DESC(parent, "the PCI function that they are part of");
static unsigned int sfnum[MOST];
static int count;
module_param_array(sfnum, uint, &count, 0444);
MODULE_PARM_DESC(sfnum, "their numbers");

struct subfunction {
	struct auxiliary_device adev;
	unsigned int sfnum;
};

static struct pci_dev *pdev;
static struct subfunction *subfunctions[MOST];
static struct net_device __rcu *ports[MOST];

static ssize_t sfnum_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct auxiliary_device *adev = to_auxiliary_dev(dev);

	return sysfs_emit(buf, "%u\n", container_of(adev, struct subfunction, adev)->sfnum);
}
static DEVICE_ATTR_RO(sfnum);

static struct attribute *attributes_attrs[] = { &dev_attr_sfnum.attr, NULL };
ATTRIBUTE_GROUPS(attributes);

static netdev_tx_t transmit(struct sk_buff *skb, struct net_device *from)
{
	int i;

	rcu_read_lock();
	for (i = 0; i < MOST; i++) {
		struct net_device *to = rcu_dereference(ports[i]);
		struct sk_buff *copy;

		if (!to || to == from)
			continue;
		copy = skb_copy(skb, GFP_ATOMIC);
		if (copy)
			dev_forward_skb(to, copy);
	}
	rcu_read_unlock();
	dev_consume_skb_any(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops operations = {
	.ndo_start_xmit = transmit,
	.ndo_set_mac_address = eth_mac_addr,
	.ndo_validate_addr = eth_validate_addr,
};

static int probe(struct auxiliary_device *adev, const struct auxiliary_device_id *id)
{
	u8 mac[ETH_ALEN] = { 0x02, 0, 0, 0x5f, 0, adev->id };
	struct net_device *dev = alloc_etherdev(0);
	int err;

	if (!dev)
		return -ENOMEM;
	SET_NETDEV_DEV(dev, &adev->dev);
	dev->netdev_ops = &operations;
	dev->max_mtu = 9000;
	eth_hw_addr_set(dev, mac);
	err = register_netdev(dev);
	if (err) {
		free_netdev(dev);
		return err;
	}
	auxiliary_set_drvdata(adev, dev);
	rcu_assign_pointer(ports[adev->id], dev);
	return 0;
}

static void remove(struct auxiliary_device *adev)
{
	struct net_device *dev = auxiliary_get_drvdata(adev);

	RCU_INIT_POINTER(ports[adev->id], NULL);
	/* waits for those that still forward to it */
	unregister_netdev(dev);
	free_netdev(dev);
}

static const struct auxiliary_device_id ids[] = { { .name = KBUILD_MODNAME ".sf" }, {} };

static struct auxiliary_driver driver = {
	.name = "sf",
	.probe = probe,
	.remove = remove,
	.id_table = ids,
};

static void release(struct device *dev)
{
	kfree(container_of(to_auxiliary_dev(dev), struct subfunction, adev));
}

static int make(int id)
{
	struct subfunction *sf = kzalloc(sizeof(*sf), GFP_KERNEL);
	int err;

	if (!sf)
		return -ENOMEM;
	sf->sfnum = sfnum[id];
	sf->adev.name = "sf";
	sf->adev.id = id;
	sf->adev.dev.parent = &pdev->dev;
	sf->adev.dev.groups = attributes_groups;
	sf->adev.dev.release = release;
	err = auxiliary_device_init(&sf->adev);
	if (err) {
		kfree(sf);
		return err;
	}
	err = auxiliary_device_add(&sf->adev);
	if (err) {
		auxiliary_device_uninit(&sf->adev);
		return err;
	}
	subfunctions[id] = sf;
	return 0;
}

static void unmake_all(void)
{
	int id;

	for (id = 0; id < MOST; id++) {
		if (!subfunctions[id])
			continue;
		auxiliary_device_delete(&subfunctions[id]->adev);
		auxiliary_device_uninit(&subfunctions[id]->adev);
	}
	auxiliary_driver_unregister(&driver);
	pci_dev_put(pdev);
}

static int __init start(void)
{
	unsigned int domain, bus, slot, function;
	int id, err;

	if (!parent || sscanf(parent, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
		return -EINVAL;
	pdev = pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, function));
	if (!pdev)
		return -ENODEV;
	err = auxiliary_driver_register(&driver);
	if (err) {
		pci_dev_put(pdev);
		return err;
	}
	for (id = 0; id < count; id++) {
		err = make(id);
		if (err) {
			unmake_all();
			return err;
		}
	}
	return 0;
}
module_init(start);

static void __exit stop(void)
{
	unmake_all();
}
module_exit(stop);

MODULE_DESCRIPTION("subfunctions for the lab");
MODULE_LICENSE("GPL");
