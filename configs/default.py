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
            "sharding": {
                "spatial": 1,  # devices that share the rows of one image; the others share the batch
                "optimizer": False,  # each device keeps a part of the optimizers' states only (ZeRO-1)
            },
            "compilation_cache_dir": "~/.cache/inr_gan_jax/xla",  # compiled programs, kept between runs; empty: none
            "model": "paper",  # the generator: `paper` (section paper) or `release` (section release)
            "data": {
                "name": "lsun/church_outdoor",  # any tfds name prepared as array_record; `digits` prepares itself
                "split": "train",
                "data_dir": "",  # where prepared sets lie; empty: $TFDS_DATA_DIR or ~/tensorflow_datasets
                "height": 256,  # pixels; a set with images as they are is centre-cropped to the aspect and resized
                "width": 256,  # pixels
                "channels": 3,  # 3: RGB, 1: grey
                "num_classes": 0,  # above 0: train on labels, with this many classes
                "x_flip": True,  # show each image mirrored half of the time
                "num_threads": 4,  # threads that decode ahead
                "num_workers": 0,  # processes that decode ahead, with as many threads each; 0: none, threads suffice
                "prefetch": 4,  # batches decoded ahead
                # memory for decoded images, in MiB; a set that fits is decoded once and kept (not with num_workers)
                "cache_mib": 1024,
            },
            "paper": {  # the generator; the tuples have one entry a block, coarse to fine
                "z_dim": 512,  # size of the latent code
                "class_embedding_dim": 512,  # size that a label is embedded to; used when data.num_classes > 0
                "mapping_dim": 1024,  # width of the hypernetwork
                "num_mapping_layers": 3,  # its layers before the linear output
                # weights of an image: `factorised`: shared ones times a low-rank modulation; `full`: all emitted by the
                # hypernetwork; `none`: the same for all images, which differ in biases, frequencies and ToRGB only
                "modulation": "factorised",
                # of the product AB of the factors: sigmoid: W * 2 sigmoid(AB); tanh: W * (1 + tanh(AB)); demod:
                # W * (1 + AB), the weights of each output brought to the norm that they start with in the mean
                "modulation_activation": "sigmoid",
                "rank": 10,  # rank of the factorised multiplicative modulation
                # `staged`: one network, each block refines the features of the one before; `averaged`: each block is an
                # INR of its own, whose picture is interpolated to the finest grid and averaged with the others
                "scales": "staged",
                "features": (512, 256),  # hidden width of a block; the number of entries is the number of blocks
                "num_layers": (4, 4),  # hidden layers of a block
                "num_fourier_features": (256, 128),  # frequencies of a block, of the source below
                "fourier_source": "emitted",  # emitted: for each image; learned: trained, the same for all images
                "fourier_scale": (10.0, 10.0),  # from emitted or learned numbers to radians across the picture
                "max_num_fixed_features": (0, 0),  # upper bound of fixed logarithmic frequencies; 0: none
                "to_rgb": (True, True),  # whether a block adds a picture of its own; the last always does
                "use_raw_coordinates": False,  # pass x and y on as they are, in [-1, 1), beside the waves
                "use_diagonal_features": False,  # keep diagonals in the fixed basis at the cost of high frequencies
                "first_dense_block": 1,  # super-resolution by the rule `paper` runs denser from this block on
                # grids of the blocks in training: `paper` nests them, each coarser one feeding the next by nearest
                # upsampling; `pointwise` evaluates every block at every pixel: dearer, and continuous between pixels
                "training_rule": "paper",
                "activation": "relu",  # relu or leaky_relu
                "leaky_slope": 0.2,  # slope of leaky_relu below 0
                "equalised_lr": False,  # store the shared weights at unit variance and scale them at run time
            },
            "release": {  # the generator when model is `release`: inr-gan, inr-gan-bil, cips and stylegan2 by settings
                "z_dim": 512,  # size of the latent code
                "w_dim": 512,  # size of the intermediate latent code
                "num_mapping_layers": 2,
                "mapping_lr_multiplier": 0.01,  # relative learning rate of the mapping layers
                "label_features": None,  # width of the embedding of a label; None: w_dim
                "mapping_features": None,  # width of the mapping layers but the last; None: w_dim
                "w_avg_decay": 0.995,  # share of the running mean of w that one batch leaves
                "channel_base": 32768,  # width at nominal side r is channel_base / r ...
                "channel_max": 512,  # ... at most this
                "input_type": "coordinates",  # what the first block starts from: coordinates or const
                "input_resolution": 32,  # side of the first grid; all blocks up to it run on it
                "upsampling": "nearest",  # nearest, bilinear, or fir (inside the convolution)
                "kernel_size": 1,  # 1 or 3
                "coordinate_blocks": "upsampling",  # blocks that take coordinates in: none, upsampling, every
                # one entry a resolution with coordinates; models/release_settings.py explains the keys of an entry
                "coordinates": (),
                "factor_activation": "demod",  # of factorised modulation: demod, sigmoid, tanh; None: StyleGAN2's own
                "rank": 10,  # rank of the factors
                "instance_norm": False,  # divide the inputs of all but the first layer of a block by their deviation
                "num_extra_layers": (),  # (resolution, number) pairs of further layers
                "use_noise": False,  # add noise to the features
                "conv_clamp": None,  # bound of the activations; None: none
                "first_dense_lattice": 1,  # super-resolution by the rule `paper` runs denser from this grid on
            },
            "discriminator": {  # StyleGAN2
                "channel_base": 16384,  # width at side r is channel_base / r ...
                "channel_max": 512,  # ... at most this
                "mbstd_group_size": 4,  # samples a group of the minibatch standard deviation; None: the batch
                "mbstd_channels": 1,  # its channels; 0: none
                "conv_clamp": None,  # bound of the activations; None: none
                "architecture": "resnet",  # resnet, skip or orig
                "num_label_layers": 8,  # layers behind the embedding of a label; used when data.num_classes > 0
                "label_projection_features": None,  # width of the output that labels select from; None: that before it
                "label_lr_multiplier": 0.01,  # relative learning rate of the layers behind the embedding
            },
            "loss": {
                # logistic: non-saturating; relativistic: pairs of a real and a generated image, as in R3GAN; hinge
                "adversarial": "logistic",
                "r1_gamma": 20.0,  # at real images, r1_gamma / 2 * |gradient of the discriminator|^2; 0: none
                "r2_gamma": 0.0,  # the same at generated images, as R3GAN adds it; 0: none
                "r1_interval": 1,  # steps between penalties; 1: within the discriminator's step; above: a step apart
                "pl_weight": 0.0,  # of the path-length penalty of the generator, 2 in StyleGAN2; 0: none
                # steps between path-length penalties; above 1, rates and betas of the generator are corrected for
                # the penalty's own steps, as the official code does even when there are none; 1: no correction
                "pl_interval": 1,
                "pl_decay": 0.01,  # share of a batch in the running mean of path lengths
                "pl_batch_shrink": 2,  # path lengths are measured on this fraction of a batch
                "style_mixing_prob": 0.0,  # share of batches whose layers take two codes; `release` models only
                # of the VGG16 feature distance between generated and real images in the generator's loss; 0: none
                "perceptual_weight": 0.0,
                "vgg16_file": "",  # torchvision's vgg16 weights (.pth or .npz), needed for perceptual_weight
            },
            "augment": {  # of the discriminator's input, real and generated alike
                # none; ada: adaptive strength; fixed: at initial_p; differentiable: the light policy of DiffAugment
                "kind": "none",
                "pipeline": "bgc",  # of ada and fixed: blit, geom, color, filter, noise, cutout, bg, bgc, ... bgcfnc
                "policy": ("color", "translation", "cutout"),  # of differentiable
                "initial_p": 0.0,  # probability to begin with
                "target": 0.6,  # ada: wanted mean sign of the discriminator's outputs on real images
                "interval": 4,  # ada: steps between adjustments
                "kimg": 500.0,  # ada: duration in which p can go from 0 to 1
            },
            "optimizer": {  # Adam
                "class_embedding_lr": 5e-5,  # learning rate of the embedding of labels (paper)
                "mapping_lr": 5e-5,  # of the layers from a latent code to the intermediate one
                "connector_lr": 5e-5,  # of the linear layer that emits an image's own parameters (paper)
                "inr_lr": 5e-4,  # of the INR's shared weights, and of all else of the generator
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
                "keep_checkpoints": 3,  # newest ones to keep; the best by the metric is kept beside them
                "keep_every_kimg": 0.0,  # between checkpoints that are kept for good; 0: none
                "num_microbatches": 1,  # parts that a batch is cut into, one after the other, when it does not fit
                "precision": "float32",  # of wide layers in training: float32 or bfloat16; docs/training.md says which
                "remat": False,  # compute the blocks again in the backward pass: less memory, more time
                "generator_first": False,  # update the generator before the discriminator, as the released code does
            },
            "guard": {  # against collapse; looks at the numbers whenever they are logged, and at the metric
                # log; stop; roll_back: to the last good checkpoint, with other random numbers. A run whose losses are
                # not finite always stops or goes back.
                "action": "roll_back",
                "warmup_kimg": 50.0,  # a generator that has just begun may look collapsed
                "num_ticks": 3,  # numbers must be bad this many times in a row
                "max_sign": 0.999,  # mean sign of the discriminator on real images above which it has won
                "min_contrast": 0.02,  # standard deviation across generated images, of that across real ones
                "metric_factor": 5.0,  # the metric may rise to this many times its best
                "max_rollbacks": 2,  # afterwards the run stops
                "lr_factor": 1.0,  # of all learning rates, after each time of going back
            },
            "evaluation": {
                # none; pixel_fd: Frechet distance of raw pixels, for small pictures; or a protocol of docs/metrics.md,
                # such as fid50k_full, kid50k_full, fsd10k_full
                "metric": "none",
                "num_samples": 10000,  # generated images of pixel_fd; the name of a protocol says its own
                "weights_file": "",  # of the protocol's network; empty: the environment variable that it names
                "cache_dir": "~/.cache/inr_gan_jax/metrics",  # statistics of real images; empty: none
                "batch_size": 16,  # images drawn at a time, for evaluations and sample grids
            },
        }
    )
    return config.lock()
