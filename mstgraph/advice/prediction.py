"""The gain that the measures of an edge let expect: one formula, and where it comes from.

Distillation pays on samples that have no label: there a teacher's answer takes the label's place.
Where the teacher is right and the student is wrong, there is something to gain. Where it is wrong
and the student is right, there is something to lose, but less: errors that follow from what the
student does not see are noise to it, and average out over samples. With every label known nothing
is expected. How well this predicts is in ``docs/advise.md``.
"""

from __future__ import annotations

GAIN = 0.35  # fitted on the digits (mfeat) alone by tools/check_advice.py
HARM = 0.25  # set, not fitted: no teacher of the digits is weak enough to tell


def predicted_gain(helps: float, harms: float, unlabelled: float) -> float:
    """Return GAIN × unlabelled × (helps − HARM × harms), a gain in accuracy, a fraction of 1.

    Args:
        helps: share of all samples on which the teacher is right and the student is wrong.
        harms: share of all samples on which the student is right and the teacher is wrong.
        unlabelled: share of the training samples that have no label.
    """
    return GAIN * unlabelled * (helps - HARM * harms)
