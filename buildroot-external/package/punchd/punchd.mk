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

# The profile of Cargo.toml, in place of Buildroot's: flash is scarce. The
# sources that are built have no .git, so --version takes the commit from here.
PUNCHD_CARGO_ENV = \
	CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
	CARGO_PROFILE_RELEASE_LTO=fat \
	CARGO_PROFILE_RELEASE_OPT_LEVEL=z \
	PUNCHD_COMMIT=$(or $(shell git -C $(PUNCHD_SITE) rev-parse --short=12 HEAD 2>/dev/null),unknown)

PUNCHD_CARGO_BUILD_OPTS = --package punchd

ifeq ($(BR2_PACKAGE_PUNCHD_TLS),)
PUNCHD_CARGO_BUILD_OPTS += --no-default-features
PUNCHD_CARGO_INSTALL_OPTS += --no-default-features
endif

# Buildroot vendors crates into the archives that it downloads. These sources
# are a directory: the crates of Cargo.lock go where Buildroot keeps those of
# other packages. When they are there, nothing is fetched.
define PUNCHD_FETCH_CRATES
	mkdir -p $(BR_CARGO_HOME)
	cd $(@D) && \
		$(TARGET_MAKE_ENV) $(PKG_COMMON_CARGO_ENV) \
		flock $(BR_CARGO_HOME)/.br-lock \
		cargo fetch --locked
endef
PUNCHD_PRE_CONFIGURE_HOOKS += PUNCHD_FETCH_CRATES

# Files of yours belong into an overlay: those are copied last, over these.
define PUNCHD_INSTALL_CONFIGURATION
	$(INSTALL) -D -m 0600 $(@D)/rootfs-overlay/etc/punchd.toml \
		$(TARGET_DIR)/etc/punchd.toml
	$(INSTALL) -D -m 0644 $(@D)/rootfs-overlay/etc/default/punchd \
		$(TARGET_DIR)/etc/default/punchd
	$(INSTALL) -D -m 0644 $(@D)/rootfs-overlay/etc/punchd.drivers \
		$(TARGET_DIR)/etc/punchd.drivers
	$(INSTALL) -D -m 0755 $(@D)/rootfs-overlay/usr/lib/punchd/respawn \
		$(TARGET_DIR)/usr/lib/punchd/respawn
	$(INSTALL) -D -m 0755 $(@D)/rootfs-overlay/usr/lib/punchd/upgrade \
		$(TARGET_DIR)/usr/lib/punchd/upgrade
endef
PUNCHD_POST_INSTALL_TARGET_HOOKS += PUNCHD_INSTALL_CONFIGURATION

define PUNCHD_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(@D)/rootfs-overlay/etc/init.d/S60punchd \
		$(TARGET_DIR)/etc/init.d/S60punchd
endef

define PUNCHD_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/contrib/punchd.service \
		$(TARGET_DIR)/usr/lib/systemd/system/punchd.service
endef

define PUNCHD_PERMISSIONS
	/var/lib/punchd d 0700 root root - - - - -
	/var/lib/punchd/files d 0700 root root - - - - -
endef

$(eval $(cargo-package))
