"""Whether each of many numbered things came exactly once, and as it was sent."""


class ExactlyOnce:
    """How often each of `count` things came."""

    def __init__(self, count):
        self.times, self.wrong = bytearray(count), 0

    def note(self, nth, is_right=True):
        """The `nth` came; None for something that was never sent."""
        if nth is None or not 0 <= nth < len(self.times):
            self.wrong += 1
        else:
            self.times[nth] = min(255, self.times[nth] + 1)
            self.wrong += not is_right

    def faults(self):
        """How many things did not come exactly once as they were sent, and the same in words."""
        lost = self.times.count(0)
        twice = len(self.times) - lost - self.times.count(1)
        return lost + twice + self.wrong, f"{lost} lost, {twice} more than once, {self.wrong} not as sent"
