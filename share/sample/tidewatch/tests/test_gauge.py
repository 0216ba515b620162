import unittest

from tidewatch import gauge
from tidewatch.retry import Transient


def frame(payload):
    return b"$%s*%02X\r\n" % (payload, gauge.frame_checksum(payload))


class FrameTest(unittest.TestCase):
    def test_valid_frame_gives_metres(self):
        self.assertEqual(gauge.parse_frame(frame(b"TG,2134,A")), 2.134)
        self.assertEqual(gauge.parse_frame(frame(b"TG,-250,A")), -0.25)

    def test_one_damaged_byte_is_transient(self):
        good = frame(b"TG,2134,A")
        for at in range(len(good) - 4):
            damaged = bytearray(good)
            damaged[at] ^= 0x01
            with self.assertRaises(Transient):
                gauge.parse_frame(bytes(damaged))

    def test_impossible_level_is_transient(self):
        with self.assertRaises(Transient):
            gauge.parse_frame(frame(b"TG,99999,A"))

    def test_reported_defect_is_not_repeated(self):
        with self.assertRaises(gauge.GaugeFault):
            gauge.parse_frame(frame(b"TG,2134,D"))
