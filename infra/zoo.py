"""The models that the image can be built with, so that a misspelt one is refused at synth.

The build would refuse it too, minutes later. Asking GluonCV takes MXNet, which a machine that
deploys need not have; a test holds this list to it.
"""

DEFAULT = "efficientnet_lite0"

# The classifiers of gluoncv 0.10.5 whose trained weights are published, but for resnet50_v1b_gn,
# which MXNet cannot export. A mirror of the zoo has no others: GluonCV knows their weights' SHA-1.
_ZOO = """
alexnet cifar_resnet110_v1 cifar_resnet110_v2 cifar_resnet20_v1 cifar_resnet20_v2
cifar_resnet56_v1 cifar_resnet56_v2 cifar_resnext29_16x64d cifar_wideresnet16_10
cifar_wideresnet28_10 cifar_wideresnet40_8 darknet53 densenet121 densenet161 densenet169
densenet201 dla34 googlenet hrnet_w18_c hrnet_w18_small_v1_c hrnet_w18_small_v2_c hrnet_w30_c
hrnet_w32_c hrnet_w40_c hrnet_w44_c hrnet_w48_c hrnet_w64_c inceptionv3 mobilenet0.25
mobilenet0.5 mobilenet0.75 mobilenet1.0 mobilenetv2_0.25 mobilenetv2_0.5 mobilenetv2_0.75
mobilenetv2_1.0 mobilenetv3_large mobilenetv3_small resnest101 resnest14 resnest200 resnest26
resnest269 resnest50 resnet101_v1 resnet101_v1b resnet101_v1c resnet101_v1d resnet101_v1d_0.73
resnet101_v1d_0.76 resnet101_v1s resnet101_v2 resnet152_v1 resnet152_v1b resnet152_v1c
resnet152_v1d resnet152_v1s resnet152_v2 resnet18_v1 resnet18_v1b resnet18_v1b_0.89 resnet18_v2
resnet34_v1 resnet34_v1b resnet34_v2 resnet50_v1 resnet50_v1b resnet50_v1c resnet50_v1d
resnet50_v1d_0.11 resnet50_v1d_0.37 resnet50_v1d_0.48 resnet50_v1d_0.86 resnet50_v1s resnet50_v2
resnext101_32x4d resnext101_64x4d resnext50_32x4d se_resnext101_32x4d se_resnext101_64x4d
se_resnext50_32x4d senet_154 squeezenet1.0 squeezenet1.1 vgg11 vgg11_bn vgg13 vgg13_bn vgg16
vgg16_bn vgg19 vgg19_bn xception
"""

NAMES = (DEFAULT, *_ZOO.split())
