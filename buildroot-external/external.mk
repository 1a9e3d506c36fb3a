include $(sort $(wildcard $(BR2_EXTERNAL_PUNCHD_PATH)/package/*/*.mk))
