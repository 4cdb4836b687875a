"""Sections that every config of a system shares, with the paper's values. No JAX: configs load in no time."""

from ml_collections import ConfigDict


def mimic() -> ConfigDict:
    """`config.loss.mimic`: L_mimic of OASNet (eqs. 7 to 11). What the paper leaves open: docs/choices.md."""
    mimic = ConfigDict()
    mimic.kind = "ot"  # l2, cosine, kl, js, ot, or none
    mimic.weight = 0.001  # lambda_mimic of eq. 11; 100 for kl in the paper
    mimic.reduction = "mean"  # or sum; for ot, sum means weights of 1 in place of 1/C
    mimic.detach = False  # the clean branch teaches without being taught
    mimic.axis = "channel"  # of the softmax of kl and js; or space

    mimic.mask = ConfigDict()  # of natural occlusions, eq. 7
    mimic.mask.source = "ground_truth"  # predicted: the clean branch's H_o without its gradient; or none
    mimic.mask.threshold = 0.0  # 0: soft, 1 - H_o; otherwise binary, H_o < threshold

    mimic.transport = ConfigDict()  # Algorithm 1
    mimic.transport.epsilon = 0.1
    mimic.transport.epsilon_end = 0.1  # reached at the last step, geometrically
    mimic.transport.num_iters = 5
    mimic.transport.domain = "log"  # or plain
    mimic.transport.plan_grad = "unrolled"  # stop or implicit
    mimic.transport.debias = False
    mimic.transport.dead_rows = "keep"  # drop: weight zero for channels without a direction

    mimic.critic = ConfigDict()  # D of Algorithm 1
    mimic.critic.kind = "convolution"  # average_pool, or none: the features themselves
    mimic.critic.kernel_size = 3
    mimic.critic.stride = 2
    mimic.critic.groups = 1  # 0: one for each channel
    mimic.critic.bias = False
    mimic.critic.relu = False
    mimic.critic.training = "joint"  # frozen, adversarial or ema
    mimic.critic.ema_decay = 0.999
    return mimic
