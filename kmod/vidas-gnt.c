// SPDX-License-Identifier: GPL-2.0-only
/*
 * Grants pages of tmpfs files to any number of Xen domains; vidas-gnt.h is the contract.
 *
 * A struct vg_file keeps the references of one open file: an array indexed by reference whose
 * entries hold page, domain and flags in one word, so that no grant needs an allocation of its own.
 * Closed with references that are still mapped it goes on vg_closed, holds the module, and a work
 * item tries until the last one is taken back. Grants are counted by domain in vg_domains.
 *
 * Locks: vg_file.lock > vg_lock (counts); vg_closed_lock > vg_lock.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/list.h>
#include <linux/magic.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <xen/grant_table.h>
#include <xen/page.h>
#include <xen/xen.h>
#include "vidas-gnt.h"

#define VG_RETRY (HZ / 2)
#define VG_BATCH 1024

struct vg_file {
	struct mutex lock;
	struct xarray refs;
	struct list_head closed; /* in vg_closed */
	int bound;		 /* to this domid, -1: to none */
};

struct vg_domain {
	u32 granted;
	u32 busy;
	u32 deferred;
	u32 cap;
};

static DEFINE_SPINLOCK(vg_lock);
static DEFINE_XARRAY(vg_domains);
static u32 vg_total;

static DEFINE_MUTEX(vg_closed_lock);
static LIST_HEAD(vg_closed);
static void vg_retry(struct work_struct *work);
static DECLARE_DELAYED_WORK(vg_work, vg_retry);

/* An entry of vg_file.refs: the page's frame number, the domid in 15 bits, two flags. */
#define VG_READONLY    BIT(0)
#define VG_BUSY	       BIT(1)
#define VG_DOMID_SHIFT 2
#define VG_PFN_SHIFT   17

static void *vg_entry(struct page *page, u16 domid, unsigned long flags)
{
	return xa_mk_value(page_to_pfn(page) << VG_PFN_SHIFT |
			   (unsigned long)domid << VG_DOMID_SHIFT | flags);
}

static struct page *vg_page(const void *entry)
{
	return pfn_to_page(xa_to_value(entry) >> VG_PFN_SHIFT);
}

static u16 vg_domid(const void *entry)
{
	return xa_to_value(entry) >> VG_DOMID_SHIFT & 0x7fff;
}

static unsigned long vg_flags(const void *entry)
{
	return xa_to_value(entry) & (VG_READONLY | VG_BUSY);
}

/* The domain's counts, made when they are first needed; they stay until the module goes. */
static struct vg_domain *vg_domain_get(u16 domid)
{
	struct vg_domain *d = xa_load(&vg_domains, domid), *other;

	if (d)
		return d;
	d = kzalloc(sizeof(*d), GFP_KERNEL);
	if (!d)
		return NULL;
	other = xa_cmpxchg(&vg_domains, domid, NULL, d, GFP_KERNEL);
	if (other)
		kfree(d);
	if (xa_is_err(other))
		return NULL;
	return other ? other : d;
}

static int vg_charge(struct vg_domain *d)
{
	int rc = 0;

	spin_lock(&vg_lock);
	if (d->cap && d->granted + d->deferred >= d->cap) {
		rc = -EDQUOT;
	} else {
		d->granted++;
		vg_total++;
	}
	spin_unlock(&vg_lock);
	return rc;
}

static void vg_uncharge(struct vg_domain *d)
{
	spin_lock(&vg_lock);
	d->granted--;
	vg_total--;
	spin_unlock(&vg_lock);
}

/* Takes a reference back unless it is mapped, and lets its page go. */
static bool vg_end(grant_ref_t ref, void *entry)
{
	struct page *page = vg_page(entry);

	if (!gnttab_try_end_foreign_access(ref))
		return false;
	if (!(vg_flags(entry) & VG_READONLY))
		set_page_dirty_lock(page);
	put_page(page);
	return true;
}

/* One reference of an open file; false: it is mapped. Under f->lock. */
static bool vg_revoke_one(struct vg_file *f, unsigned long ref, void *entry)
{
	struct vg_domain *d = xa_load(&vg_domains, vg_domid(entry));
	bool was_busy = vg_flags(entry) & VG_BUSY;
	bool ended = vg_end(ref, entry);

	if (ended)
		xa_erase(&f->refs, ref);
	else if (!was_busy) /* takes the place of an entry: needs no memory */
		xa_store(&f->refs, ref,
			 vg_entry(vg_page(entry), vg_domid(entry), vg_flags(entry) | VG_BUSY),
			 GFP_KERNEL);
	spin_lock(&vg_lock);
	if (ended) {
		d->granted--;
		vg_total--;
		d->busy -= was_busy;
	} else {
		d->busy += !was_busy;
	}
	spin_unlock(&vg_lock);
	return ended;
}

/* Tries all references of files that were closed while they were mapped. */
static void vg_reap(void)
{
	struct vg_file *f, *next;
	struct vg_domain *d;
	unsigned long ref;
	unsigned int n = 0;
	void *entry;

	mutex_lock(&vg_closed_lock);
	list_for_each_entry_safe(f, next, &vg_closed, closed)
	{
		xa_for_each(&f->refs, ref, entry) {
			if (++n % VG_BATCH == 0)
				cond_resched();
			if (!vg_end(ref, entry))
				continue;
			xa_erase(&f->refs, ref);
			d = xa_load(&vg_domains, vg_domid(entry));
			spin_lock(&vg_lock);
			d->deferred--;
			vg_total--;
			spin_unlock(&vg_lock);
		}
		if (!xa_empty(&f->refs))
			continue;
		list_del(&f->closed);
		kfree(f);
		module_put(THIS_MODULE);
	}
	mutex_unlock(&vg_closed_lock);
}

static void vg_retry(struct work_struct *work)
{
	vg_reap();
	mutex_lock(&vg_closed_lock);
	if (!list_empty(&vg_closed))
		schedule_delayed_work(&vg_work, VG_RETRY);
	mutex_unlock(&vg_closed_lock);
}

static int vg_open(struct inode *inode, struct file *file)
{
	struct vg_file *f;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	f = kzalloc(sizeof(*f), GFP_KERNEL);
	if (!f)
		return -ENOMEM;
	mutex_init(&f->lock);
	xa_init(&f->refs);
	f->bound = -1;
	file->private_data = f;
	return 0;
}

static int vg_release(struct inode *inode, struct file *file)
{
	struct vg_file *f = file->private_data;
	struct vg_domain *d;
	unsigned long ref;
	unsigned int n = 0, deferred = 0;
	void *entry;

	xa_for_each(&f->refs, ref, entry) {
		if (++n % VG_BATCH == 0)
			cond_resched();
		if (vg_revoke_one(f, ref, entry))
			continue;
		d = xa_load(&vg_domains, vg_domid(entry));
		spin_lock(&vg_lock);
		d->granted--;
		d->busy--;
		d->deferred++;
		spin_unlock(&vg_lock);
		deferred++;
	}
	if (!deferred) {
		xa_destroy(&f->refs);
		kfree(f);
		return 0;
	}
	pr_info("closed with %u grants still mapped: their pages stay until they are not\n",
		deferred);
	__module_get(THIS_MODULE);
	mutex_lock(&vg_closed_lock);
	list_add_tail(&f->closed, &vg_closed);
	schedule_delayed_work(&vg_work, VG_RETRY);
	mutex_unlock(&vg_closed_lock);
	return 0;
}

static bool vg_may(const struct vg_file *f, u16 domid)
{
	int bound = READ_ONCE(f->bound);

	return bound < 0 || bound == domid;
}

static int vg_check_file(struct file *file, bool writable)
{
	struct inode *inode = file_inode(file);

	if (!(file->f_mode & FMODE_READ) || (writable && !(file->f_mode & FMODE_WRITE)))
		return -EBADF;
	/*
	 * A domain writes without a fault that a file system could see: only where the page cache
	 * is the file itself does nothing get lost.
	 */
	if (inode->i_sb->s_magic != TMPFS_MAGIC || !S_ISREG(inode->i_mode))
		return -EOPNOTSUPP;
	if (writable && SHMEM_I(inode)->seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE))
		return -EPERM;
	return 0;
}

/* Gets the file's page `index`, with a reference. */
static int vg_get_page(struct file *file, pgoff_t index, struct page **out)
{
	struct address_space *mapping = file->f_mapping;
	struct page *page;

	if (index >= DIV_ROUND_UP_ULL(i_size_read(mapping->host), PAGE_SIZE))
		return -ENXIO;
	page = shmem_read_mapping_page_gfp(mapping, index, mapping_gfp_mask(mapping));
	if (IS_ERR(page)) /* -EINVAL: truncated meanwhile */
		return PTR_ERR(page) == -EINVAL ? -ENXIO : PTR_ERR(page);
	*out = page;
	return 0;
}

static int vg_grant_one(struct vg_file *f, struct vg_domain *d, u16 domid, struct page *page,
			bool readonly, u32 __user *out)
{
	void *entry = vg_entry(page, domid, readonly ? VG_READONLY : 0);
	int ref, rc;

	rc = vg_charge(d);
	if (rc)
		goto put;
	ref = gnttab_grant_foreign_access(domid, xen_page_to_gfn(page), readonly);
	if (ref < 0) {
		rc = ref == -ENOSPC ? -ENOBUFS : ref;
		goto uncharge;
	}
	rc = xa_err(xa_store(&f->refs, ref, entry, GFP_KERNEL));
	if (rc) {
		/* a domain that guessed may have mapped it already: the kernel waits for it then */
		gnttab_end_foreign_access(ref, page);
		vg_uncharge(d);
		return rc;
	}
	if (put_user((u32)ref, out)) {
		vg_revoke_one(f, ref, entry);
		return -EFAULT;
	}
	return 0;
uncharge:
	vg_uncharge(d);
put:
	put_page(page);
	return rc;
}

/* Grants page after page until one fails: g->granted and g->error. Under f->lock. */
static void vg_grant_pages(struct vg_file *f, struct file *file, struct vidas_gnt_grant *g)
{
	u32 __user *refs = u64_to_user_ptr(g->refs);
	struct vg_domain *d = vg_domain_get(g->domid);
	struct page *page;
	int rc = d ? 0 : -ENOMEM;

	while (!rc && g->granted < g->pages) {
		rc = vg_get_page(file, (g->offset >> PAGE_SHIFT) + g->granted, &page);
		if (!rc)
			rc = vg_grant_one(f, d, g->domid, page, g->flags & VIDAS_GNT_READONLY,
					  refs + g->granted);
		if (rc)
			break;
		if (++g->granted % VG_BATCH == 0) {
			cond_resched();
			rc = fatal_signal_pending(current) ? -EINTR : 0;
		}
	}
	if (rc == -ENOBUFS)
		pr_warn_ratelimited(
			"no grant left for domain %u: boot Xen with gnttab_max_frames above %u\n",
			g->domid, gnttab_max_grant_frames());
	g->error = g->granted < g->pages ? -rc : 0;
}

static long vg_grant(struct vg_file *f, struct vidas_gnt_grant __user *arg)
{
	struct vidas_gnt_grant g;
	struct file *file;
	long rc;

	if (copy_from_user(&g, arg, sizeof(g)))
		return -EFAULT;
	if (g.domid > VIDAS_GNT_DOMID_MAX || g.flags & ~VIDAS_GNT_READONLY || g.spare || !g.pages ||
	    g.pages > VIDAS_GNT_PAGES_MAX || !PAGE_ALIGNED(g.offset) || g.offset > MAX_LFS_FILESIZE)
		return -EINVAL;
	if (!vg_may(f, g.domid))
		return -EPERM;
	g.granted = 0;
	g.error = 0;
	/* the answer must have a place before there is one */
	if (copy_to_user(arg, &g, sizeof(g)))
		return -EFAULT;
	file = fget(g.fd);
	if (!file)
		return -EBADF;
	rc = vg_check_file(file, !(g.flags & VIDAS_GNT_READONLY));
	if (rc)
		goto out;
	mutex_lock(&f->lock);
	vg_grant_pages(f, file, &g);
	mutex_unlock(&f->lock);
	if (!g.granted)
		rc = -g.error;
	if (copy_to_user(arg, &g, sizeof(g)))
		rc = -EFAULT;
out:
	fput(file);
	return rc;
}

static int vg_revoke_refs(struct vg_file *f, struct vidas_gnt_revoke *r)
{
	u32 __user *refs = u64_to_user_ptr(r->refs);
	void *entry;
	u32 i, ref;

	for (i = 0; i < r->count; i++) {
		if (i % VG_BATCH == VG_BATCH - 1)
			cond_resched();
		if (get_user(ref, refs + i))
			return -EFAULT;
		if (!ref)
			continue;
		entry = xa_load(&f->refs, ref);
		if (!entry)
			r->unknown++;
		else if (!vg_revoke_one(f, ref, entry))
			r->busy++;
		else if (put_user(0, refs + i))
			return -EFAULT;
	}
	return 0;
}

static long vg_revoke(struct vg_file *f, struct vidas_gnt_revoke __user *arg)
{
	struct vidas_gnt_revoke r;
	int rc;

	if (copy_from_user(&r, arg, sizeof(r)))
		return -EFAULT;
	if (r.spare || r.count > VIDAS_GNT_PAGES_MAX)
		return -EINVAL;
	r.busy = 0;
	r.unknown = 0;
	mutex_lock(&f->lock);
	rc = vg_revoke_refs(f, &r);
	mutex_unlock(&f->lock);
	if (copy_to_user(arg, &r, sizeof(r)))
		rc = -EFAULT;
	return rc;
}

static long vg_revoke_domid(struct vg_file *f, struct vidas_gnt_revoke_domid __user *arg)
{
	struct vidas_gnt_revoke_domid r;
	unsigned long ref;
	unsigned int n = 0;
	void *entry;

	if (copy_from_user(&r, arg, sizeof(r)))
		return -EFAULT;
	if (r.domid > VIDAS_GNT_DOMID_MAX || r.spare)
		return -EINVAL;
	if (!vg_may(f, r.domid))
		return -EPERM;
	r.busy = 0;
	mutex_lock(&f->lock);
	xa_for_each(&f->refs, ref, entry) {
		if (++n % VG_BATCH == 0)
			cond_resched();
		if (vg_domid(entry) == r.domid && !vg_revoke_one(f, ref, entry))
			r.busy++;
	}
	mutex_unlock(&f->lock);
	vg_reap();
	return copy_to_user(arg, &r, sizeof(r)) ? -EFAULT : 0;
}

static long vg_stat(struct vg_file *f, struct vidas_gnt_stat __user *arg)
{
	struct vidas_gnt_stat s;
	struct vg_domain *d;
	u16 domid;

	if (get_user(domid, &arg->domid))
		return -EFAULT;
	if (domid > VIDAS_GNT_DOMID_MAX)
		return -EINVAL;
	if (!vg_may(f, domid))
		return -EPERM;
	memset(&s, 0, sizeof(s));
	s.domid = domid;
	s.version = VIDAS_GNT_VERSION;
	s.max_frames = gnttab_max_grant_frames();
	d = xa_load(&vg_domains, domid);
	spin_lock(&vg_lock);
	if (d) {
		s.granted = d->granted;
		s.busy = d->busy;
		s.deferred = d->deferred;
		s.cap = d->cap;
	}
	s.total = vg_total;
	spin_unlock(&vg_lock);
	return copy_to_user(arg, &s, sizeof(s)) ? -EFAULT : 0;
}

static long vg_cap(struct vg_file *f, const struct vidas_gnt_cap __user *arg)
{
	struct vidas_gnt_cap c;
	struct vg_domain *d;

	if (copy_from_user(&c, arg, sizeof(c)))
		return -EFAULT;
	if (c.domid > VIDAS_GNT_DOMID_MAX || c.spare)
		return -EINVAL;
	if (READ_ONCE(f->bound) >= 0)
		return -EPERM;
	d = vg_domain_get(c.domid);
	if (!d)
		return -ENOMEM;
	spin_lock(&vg_lock);
	d->cap = c.pages;
	spin_unlock(&vg_lock);
	return 0;
}

static long vg_bind(struct vg_file *f, const struct vidas_gnt_bind __user *arg)
{
	struct vidas_gnt_bind b;

	if (copy_from_user(&b, arg, sizeof(b)))
		return -EFAULT;
	if (b.domid > VIDAS_GNT_DOMID_MAX || b.spare)
		return -EINVAL;
	return cmpxchg(&f->bound, -1, b.domid) == -1 ? 0 : -EPERM;
}

static long vg_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct vg_file *f = file->private_data;
	void __user *p = (void __user *)arg;

	switch (cmd) {
	case VIDAS_GNT_GRANT:
		return vg_grant(f, p);
	case VIDAS_GNT_REVOKE:
		return vg_revoke(f, p);
	case VIDAS_GNT_REVOKE_DOMID:
		return vg_revoke_domid(f, p);
	case VIDAS_GNT_STAT:
		return vg_stat(f, p);
	case VIDAS_GNT_CAP:
		return vg_cap(f, p);
	case VIDAS_GNT_BIND:
		return vg_bind(f, p);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations vg_fops = {
	.owner = THIS_MODULE,
	.open = vg_open,
	.release = vg_release,
	.unlocked_ioctl = vg_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice vg_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "vidas-gnt",
	.fops = &vg_fops,
	.mode = 0600,
};

static int __init vg_init(void)
{
	BUILD_BUG_ON(PAGE_SIZE != VIDAS_GNT_PAGE_BYTES || PAGE_SIZE != XEN_PAGE_SIZE);
	/* an entry's page may be anywhere in 2^(63 - 17) pages */
	BUILD_BUG_ON(BITS_PER_LONG != 64 || VIDAS_GNT_DOMID_MAX > 0x7fff);
	if (!xen_domain())
		return -ENODEV;
	return misc_register(&vg_device);
}

static void __exit vg_exit(void)
{
	struct vg_domain *d;
	unsigned long domid;

	misc_deregister(&vg_device);
	cancel_delayed_work_sync(&vg_work);
	xa_for_each(&vg_domains, domid, d)
		kfree(d);
	xa_destroy(&vg_domains);
}

module_init(vg_init);
module_exit(vg_exit);
MODULE_DESCRIPTION("Grants pages of files to Xen domains, each to as many as wanted");
MODULE_LICENSE("GPL");
MODULE_VERSION("1");
