################################################################################
#
# punchd
#
################################################################################

# The work tree that this directory is part of.
PUNCHD_SITE = $(realpath $(BR2_EXTERNAL_PUNCHD_PATH)/..)
PUNCHD_SITE_METHOD = local
# Sources and overlay only, not what was built.
PUNCHD_OVERRIDE_SRCDIR_RSYNC_EXCLUSIONS = --exclude /target --exclude /fuzz/target
PUNCHD_LICENSE = MIT or Apache-2.0
PUNCHD_LICENSE_FILES = LICENSE-MIT LICENSE-APACHE

# Without that unit, one that does without.
PUNCHD_TARGET = $(if $(BR2_ARM_CPU_HAS_VFPV3),armv7-unknown-linux-musleabihf,$(if $(BR2_ARM_CPU_ARMV5),armv5te,arm)-unknown-linux-musleabi)
PUNCHD_BINARY = $(PUNCHD_SITE)/target/arm/$(PUNCHD_TARGET)$(if $(BR2_PACKAGE_PUNCHD_TLS),,/without-tls)/punchd

PUNCHD_SOURCES = $(addprefix $(PUNCHD_SITE)/,src Cargo.toml Cargo.lock .cargo scripts/build-arm scripts/setup)

# What is for Buildroot's compiler, and would reach ours; and what would have cargo build elsewhere. All else stays: proxies, say.
PUNCHD_NOT_OURS = CC CXX CPP LD AR AS NM RANLIB STRIP OBJCOPY CFLAGS CXXFLAGS CPPFLAGS LDFLAGS RUSTC RUSTFLAGS CARGO CARGO_ENCODED_RUSTFLAGS \
	CARGO_BUILD_TARGET CARGO_TARGET_DIR MAKEFLAGS MFLAGS

# In the work tree, so that it builds only what changed; a binary that is younger than all sources is taken as it is.
define PUNCHD_BUILD_CMDS
	{ test -x $(PUNCHD_BINARY) && test -z "$$(find $(PUNCHD_SOURCES) -newer $(PUNCHD_BINARY))"; } || env $(addprefix -u ,$(PUNCHD_NOT_OURS)) \
		$(PUNCHD_SITE)/scripts/build-arm $(if $(BR2_PACKAGE_PUNCHD_TLS),,--without-tls) $(PUNCHD_TARGET)
endef

# Files of yours belong into an overlay: those are copied last, over these.
define PUNCHD_INSTALL_TARGET_CMDS
	$(INSTALL) -D -m 0755 $(PUNCHD_BINARY) $(TARGET_DIR)/usr/bin/punchd
	$(INSTALL) -D -m 0600 $(@D)/rootfs-overlay/etc/punchd.toml $(TARGET_DIR)/etc/punchd.toml
	$(INSTALL) -D -m 0644 $(@D)/rootfs-overlay/etc/default/punchd $(TARGET_DIR)/etc/default/punchd
	$(INSTALL) -D -m 0644 $(@D)/rootfs-overlay/etc/punchd.drivers $(TARGET_DIR)/etc/punchd.drivers
	$(INSTALL) -D -m 0755 $(@D)/rootfs-overlay/usr/lib/punchd/respawn $(TARGET_DIR)/usr/lib/punchd/respawn
	$(INSTALL) -D -m 0755 $(@D)/rootfs-overlay/usr/lib/punchd/upgrade $(TARGET_DIR)/usr/lib/punchd/upgrade
endef

define PUNCHD_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(@D)/rootfs-overlay/etc/init.d/S60punchd $(TARGET_DIR)/etc/init.d/S60punchd
endef

define PUNCHD_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/contrib/punchd.service $(TARGET_DIR)/usr/lib/systemd/system/punchd.service
endef

define PUNCHD_PERMISSIONS
	/var/lib/punchd d 0700 root root - - - - -
	/var/lib/punchd/files d 0700 root root - - - - -
endef

$(eval $(generic-package))
