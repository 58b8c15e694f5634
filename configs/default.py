"""Every key with its meaning, unit and default. Other configurations start from this one and change what differs.

Durations are in kimg, thousands of real images shown to the discriminator. Defaults are those of the `paper` model
(arXiv 2011.12026) at 256x256.
"""

import math

from ml_collections import ConfigDict


def ema_half_life(decay: float, batch_size: int) -> float:
    """Half-life in kimg of an average that keeps `decay` of itself at every step."""
    return batch_size * math.log(0.5) / math.log(decay) / 1000


def get_config() -> ConfigDict:
    """Returns the default configuration, locked against unknown keys."""
    config = ConfigDict(
        {
            "name": "default",  # the run folder is runs/<name> unless --workdir says otherwise
            "seed": 0,  # of initial weights, latent codes and the order of the images
            "one_cpu_thread": False,  # on a CPU, run every operation in one thread: faster for very small networks
            "num_devices": 0,  # accelerators to spread a batch over; 0: all that are found
            "compilation_cache_dir": "~/.cache/inr_gan_jax/xla",  # compiled programs, kept between runs; empty: none
            "data": {
                "name": "lsun/church_outdoor",  # any tfds name prepared as array_record; `digits` prepares itself
                "split": "train",
                "data_dir": "",  # where prepared sets lie; empty: $TFDS_DATA_DIR or ~/tensorflow_datasets
                "height": 256,  # pixels; images of another size are centre-cropped to the aspect and resized
                "width": 256,  # pixels
                "channels": 3,  # 3: RGB, 1: grey
                "num_classes": 0,  # above 0: train on labels, with this many classes
                "x_flip": True,  # show each image mirrored half of the time
                "num_threads": 4,  # threads that decode ahead
                "prefetch": 4,  # batches decoded ahead
            },
            "paper": {  # the generator; the tuples have one entry a block, coarse to fine
                "z_dim": 512,  # size of the latent code
                "class_embedding_dim": 512,  # size that a label is embedded to; used when data.num_classes > 0
                "mapping_dim": 1024,  # width of the hypernetwork
                "num_mapping_layers": 3,  # its layers before the linear output
                "rank": 10,  # rank of the factorised multiplicative modulation
                "features": (512, 256),  # hidden width of a block; the number of entries is the number of blocks
                "num_layers": (4, 4),  # hidden layers of a block
                "num_fourier_features": (256, 128),  # frequencies emitted for each image and block
                "fourier_scale": (10.0, 10.0),  # from emitted numbers to radians across the picture
                "max_num_fixed_features": (0, 0),  # upper bound of fixed logarithmic frequencies; 0: none
                "to_rgb": (True, True),  # whether a block adds a picture of its own; the last always does
                "use_diagonal_features": False,  # keep diagonals in the fixed basis at the cost of high frequencies
                "first_dense_block": 1,  # super-resolution by the rule `paper` runs denser from this block on
                # lattices of the blocks in training: `paper` nests them, each coarser one feeding the next by nearest
                # upsampling; `pointwise` evaluates every block at every pixel: dearer, and continuous between pixels
                "training_rule": "paper",
                "activation": "relu",  # relu or leaky_relu
                "leaky_slope": 0.2,  # slope of leaky_relu below 0
                "equalised_lr": False,  # store the shared weights at unit variance and scale them at run time
            },
            "discriminator": {  # StyleGAN2, residual
                "channel_base": 16384,  # width at side r is channel_base / r ...
                "channel_max": 512,  # ... at most this
                "mbstd_group_size": 4,  # samples a group of the minibatch standard deviation
            },
            "loss": {  # non-saturating logistic, with R1 on real images
                "r1_gamma": 20.0,  # the penalty is r1_gamma / 2 * |gradient|^2; 0: none
                "r1_interval": 1,  # steps between penalties; 1: within the discriminator's step; above: a step apart
            },
            "optimizer": {  # Adam
                "hypernetwork_lr": 5e-5,  # learning rate of the hypernetwork (mapping, connector, label embedding)
                "inr_lr": 5e-4,  # of the INR's shared weights
                "discriminator_lr": 3e-3,
                "beta1": 0.0,
                "beta2": 0.98,
                "epsilon": 1e-8,
                "decay_kimg": 0.0,  # cosine decay of the learning rates up to here; 0: constant
                "final_lr_fraction": 1.0,  # of each learning rate, after the decay
            },
            "training": {
                "batch_size": 16,  # of the whole run, over all devices
                "total_kimg": 25000.0,  # when to stop
                "ema_kimg": ema_half_life(0.999, 16),  # half-life of the averaged generator that samples come from
                "ema_rampup": 0.0,  # half-life at most this share of the images shown so far; 0: no ramp-up
                "log_kimg": 4.0,  # between two lines of numbers
                "sample_kimg": 100.0,  # between two sample grids; 0: none
                "sample_grid": (4, 8),  # rows and columns of a sample grid
                "evaluate_kimg": 0.0,  # between two evaluations; 0: none
                "checkpoint_kimg": 100.0,  # between two checkpoints; a killed run loses at most this
                "keep_checkpoints": 3,  # newest ones to keep
            },
            "evaluation": {
                "metric": "none",  # pixel_fd: Frechet distance of raw pixels (small pictures only); none
                "num_samples": 10000,  # generated images; the real set is used whole
                "batch_size": 16,  # images drawn at a time, for evaluations and sample grids
            },
        }
    )
    return config.lock()
